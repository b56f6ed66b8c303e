"""The rules of ARCHITECTURE.md that a program can check: imports, sizes, where a module is tested, safety."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

from tests.support import ROOT

# Imports only go down: a package may import from its own row and from the rows before it.
PACKAGE_ORDER = (
    ("core",),
    ("config",),
    ("runs",),
    ("server",),
    ("data",),
    ("models",),
    ("training",),
    ("audit", "inference"),
    ("evaluation",),
    ("reporting",),
    ("export",),
    ("cli", "ui", "__main__"),
    ("api",),
)
# Nothing in these packages imports torch or gradio, by itself or by what it imports: they start at once.
LIGHT = (
    *("core", "config", "runs", "server", "cli", "data.sources", "data.folders", "data.manifests", "data.dataset"),
    *("data.samples", "data.shards", "data.conversion"),
)
TOP_PACKAGES_LIMIT = 14
PACKAGE_MODULES_LIMIT = 15  # with `__init__`
MODULE_LINES_LIMIT = 320
FUNCTION_LINES_LIMIT = 60
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
REGISTRY_HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]

TESTED_ELSEWHERE = {
    "tests/export/test_export_run.py": (
        *("cli/commands/export", "export/exported_answer", "export/formats", "export/model_card"),
        "export/parity",
    ),
    "tests/export/plain_script/test_script_files.py": (
        *("export/plain_script/image_code", "export/plain_script/loop_code", "export/plain_script/network_code"),
        *("export/plain_script/script_run", "export/plain_script/sections"),
    ),
    "tests/export/onnx_format/test_onnx_files.py": (
        *("export/answer_network", "export/onnx_format/network_graph", "export/onnx_format/pixel_graph"),
    ),
    "tests/export/onnx_format/test_int8_network.py": ("export/onnx_format/int8_converter",),
    "tests/export/openvino_format/test_openvino_files.py": ("export/openvino_format/openvino_converter",),
    "tests/export/answer_process/test_model_process.py": ("export/answer_process/answer_runner",),
    "tests/export/coreml_format/test_coreml_files.py": (
        *("export/coreml_format/coreml_converter", "export/coreml_format/coreml_reader"),
    ),
    "tests/export/executorch_format/test_executorch_files.py": ("export/executorch_format/executorch_converter",),
    "tests/export/torch_formats/test_safetensors_files.py": (
        *("export/description_file", "export/torch_formats/loading_lines"),
    ),
    "tests/export/web_page/test_page_files.py": ("inference/heat_script",),
    "tests/server/test_stop_route.py": ("runs/jobs/job_stop",),
    "tests/audit/test_examine.py": (
        *("audit/duplicates", "audit/embedding_map", "audit/embeddings", "audit/findings", "audit/image_quality"),
        *("audit/label_errors", "runs/jobs/audit_job"),
    ),
    "tests/cli/test_main.py": (
        *(
            "cli/commands/compare",
            "cli/commands/evaluate",
            "cli/commands/explain",
            "cli/common/explain_gallery",
            "cli/common/explain_image",
            "cli/common/explain_pair",
            "cli/common/named_models",
        ),
        *("cli/commands/predict", "cli/commands/train", "cli/terminal/output"),
    ),
    "tests/cli/test_startup.py": ("cli/commands/backbones",),
    "tests/config/test_old_settings.py": ("cli/parsing/setting_flags",),
    "tests/config/test_recipes.py": ("cli/commands/recipes",),
    "tests/config/test_train_config.py": ("config/fields", "config/mode_defaults", "config/rules"),
    "tests/models/test_network.py": ("config/backbones", "training/optim/optimizers"),
    "tests/ui/test_serve.py": ("core/html", "ui/common/html", "ui/common/theme"),
    "tests/data/sources/test_tutorial_datasets.py": (*("cli/commands/fetch", "data/sources/download"),),
    "tests/data/dataset/test_scan.py": (
        *("data/dataset/catalog", "data/dataset/split", "data/sources/file_suffixes", "data/sources/links"),
        *("data/dataset/trainable_classes", "data/sources/listing"),
    ),
    "tests/data/folders/test_read_folders.py": (
        *("data/folders/annotations", "data/folders/class_levels", "data/folders/folder_reading"),
        "data/folders/folder_tree",
        *("data/folders/folder_words", "data/folders/split_folders", "data/folders/unused_folders"),
    ),
    "tests/data/manifests/test_manifest.py": (
        *("data/manifests/column_names", "data/manifests/column_sample", "data/manifests/columns"),
        *(
            "data/manifests/joined_lists",
            "data/manifests/json_tables",
            "data/manifests/label_names",
            "data/manifests/multi_labels",
        ),
        *("data/manifests/tables", "data/manifests/text_files"),
    ),
    "tests/data/manifests/test_search.py": (
        *("data/dataset/listed_splits", "data/manifests/list_splits"),
        "data/dataset/split_lists",
        "data/manifests/path_resolver",
    ),
    "tests/cli/common/test_train_process.py": ("data/dataset/from_config", "data/sources/locate"),
    "tests/data/gpu/test_gpu_augment.py": ("data/gpu/gpu_effects",),
    "tests/data/shards/test_reader.py": ("data/shards/shard_files", "data/shards/shard_sample"),
    "tests/data/gpu/test_gpu_resize.py": ("data/gpu/resize_taps", "data/gpu/triton_resize"),
    "tests/data/isolation/test_worker_pool.py": (
        *(
            "data/isolation/failed_files",
            "data/isolation/isolated",
            "data/isolation/worker_main",
            "data/isolation/worker_process",
        ),
    ),
    "tests/data/images/test_decode.py": (
        "data/images/convert_rgb",
        "data/images/diagnosis",
    ),
    "tests/models/pretrained/test_file_kinds.py": ("core/content_kinds", "models/pretrained/tensor_search"),
    "tests/data/images/test_value_range.py": ("data/images/declared_range", "data/images/deep_samples"),
    "tests/ui/dataset/test_tab.py": (
        *(
            "data/images/data_uri",
            "data/isolation/thumbnails",
            "ui/common/data_choice",
            "ui/dataset/actions",
            "ui/dataset/folder_browser",
        ),
        *("ui/dataset/gallery_view", "ui/dataset/layout", "ui/dataset/view"),
    ),
    "tests/data/samples/test_sample_sets.py": (
        *("data/samples/drawing/built", "data/samples/drawing/grounds", "data/samples/drawing/made"),
        *("data/samples/drawing/mesh", "data/samples/drawing/nature", "data/samples/drawing/palette"),
        *("data/samples/drawing/scene", "data/samples/drawing/surfaces", "data/samples/drawing/texture"),
        *("data/samples/drawing/toys", "data/samples/drawing/turned"),
    ),
    "tests/data/sources/test_archive.py": (
        "data/sources/archive_entries",
        "data/sources/archive_kinds",
        "data/sources/archive_writing",
        "data/sources/zip_file",
    ),
    "tests/data/sources/test_name_encoding.py": ("config/name_encodings", "config/common_characters"),
    "tests/data/transforms/test_augment.py": ("data/transforms/augment_draw",),
    "tests/reporting/html/test_document.py": (
        *("evaluation/csv_tables", "reporting/html/confusion_matrix", "reporting/html/files", "reporting/html/parts"),
        "reporting/html/reliability_diagram",
    ),
    "tests/evaluation/test_evaluate.py": ("evaluation/datasets", "evaluation/results", "inference/decision_rule"),
    "tests/inference/test_predictor.py": ("inference/cam_options", "inference/load_model", "models/run_checkpoint"),
    "tests/inference/test_cam_methods.py": ("models/activation_layout",),
    "tests/training/test_train_step.py": ("models/buffer_snapshot", "training/optim/losses"),
    "tests/training/devices/test_device_setup.py": ("models/execution/device",),
    "tests/models/execution/test_features.py": ("models/execution/feature_extraction",),
    "tests/models/execution/test_feature_cache.py": ("training/cached_features",),
    "tests/training/test_loop_activations.py": (
        *("training/activation_plan", "training/feeds/feature_progress", "models/activations/frozen_part"),
    ),
    "tests/models/activations/test_split_backbone.py": ("models/activations/boundary_values",),
    "tests/models/pretrained/test_checkpoint_import.py": (
        *("models/pretrained/key_mapping", "models/pretrained/key_search"),
    ),
    "tests/training/measurement/test_lr_finder.py": ("runs/jobs/lr_sweep",),
    "tests/runs/jobs/test_time_estimate.py": ("runs/jobs/subprocess_query", "training/measurement/throughput"),
    "tests/runs/jobs/test_postmortem.py": ("runs/process_record",),
    "tests/runs/test_directory.py": ("runs/liveness", "runs/run_store"),
    "tests/training/checkpoints/test_checkpoint.py": ("training/checkpoints/optimizer_state",),
    "tests/training/test_loop_resume.py": ("training/checkpoints/resume_checks",),
    "tests/training/test_compile.py": ("training/cuda_graph",),
    "tests/training/test_loop.py": (
        *("training/epoch", "training/evaluate", "training/network_setup", "training/preparation", "training/session"),
    ),
    "tests/training/feeds/test_images.py": (
        *("training/feeds/base", "training/feeds/gpu_images", "training/feeds/image_base"),
    ),
    "tests/training/trial/test_step_trial.py": (
        *("training/trial/batch_sizes", "training/trial/start_trial", "training/trial/trial_cache"),
    ),
    "tests/runs/queue/test_job_queue.py": (
        *("runs/queue/launcher", "runs/queue/queue_exit", "runs/queue/queue_limits", "runs/queue/queue_pause"),
    ),
    "tests/runs/jobs/test_launch.py": ("runs/queue/train_command",),
    "tests/runs/jobs/test_warm_worker.py": ("cli/common/spare_process",),
    "tests/runs/jobs/test_local_launcher.py": ("runs/jobs/dispatcher",),
    "tests/cli/commands/test_queue.py": ("cli/parsing/queue_flags", "cli/common/queue_turn"),
    "tests/runs/cluster/test_ray_launcher.py": ("runs/cluster/cluster_job",),
    "tests/runs/test_curves.py": ("ui/common/curves_view",),
    "tests/ui/predict/test_tab.py": (
        *("ui/common/image_field", "ui/common/late_answers", "ui/predict/actions", "ui/predict/cam_options"),
        *("ui/predict/examples", "ui/predict/gallery_actions", "ui/predict/gallery_view", "ui/predict/view"),
    ),
    "tests/server/class_pages/test_class_routes.py": ("server/class_pages/join_page",),
    "tests/server/class_pages/test_teacher_routes.py": (
        *("server/class_pages/class_board", "server/class_pages/join_address", "server/class_pages/lesson_archive"),
        *("server/class_pages/teacher_actions", "server/class_pages/teacher_page"),
    ),
    "tests/server/class_pages/test_sign_in_routes.py": ("server/accounts/openid_client",),
    "tests/server/people/test_membership.py": ("server/people/member_register", "server/people/person_names"),
    "tests/server/test_middleware.py": ("server/bodies", "server/origins"),
    "tests/ui/common/test_gradio_guard.py": ("server/upload_spool",),
    "tests/ui/test_page_server.py": ("ui/sent_choices",),
    "tests/browser/test_languages.py": ("ui/language/switch",),
    "tests/browser/test_presentation.py": ("ui/presentation/buttons",),
    "tests/ui/api/test_endpoints.py": (
        *("ui/api/answers", "ui/api/call_values", "ui/api/refusals", "ui/api/sent_files", "ui/api/sent_settings"),
    ),
    "tests/ui/common/test_run_status.py": ("ui/common/run_state", "ui/common/run_status_view"),
    "tests/ui/compare/test_pair.py": ("ui/compare/pair_actions",),
    "tests/ui/compare/test_tab.py": ("ui/compare/view",),
    "tests/ui/dataset/test_audit.py": ("ui/common/stop_script", "ui/dataset/audit_view"),
    "tests/ui/dataset/test_tutorial_picker.py": ("ui/dataset/source_actions",),
    "tests/ui/inspect/test_tab.py": ("ui/inspect/actions", "ui/inspect/choices", "ui/inspect/view"),
    "tests/ui/runs/test_export_panel.py": ("ui/runs/export_progress", "ui/runs/number_choice"),
    "tests/ui/runs/test_tab.py": ("ui/runs/actions", "ui/runs/listing", "ui/runs/view"),
    "tests/ui/train/test_form.py": ("ui/train/form_fields",),
    "tests/ui/train/test_tab.py": (
        *("ui/train/actions", "ui/train/layers", "ui/train/panel_updates", "ui/train/preflight"),
        *("ui/train/run_panel", "ui/train/visible_runs", "ui/train/facts"),
    ),
}
"""Modules without a test file of their own name, by the file that tests them."""

ORDER = {package: index for index, packages in enumerate(PACKAGE_ORDER) for package in packages}


def read_modules(folder: str) -> dict[str, str]:
    """The sources below a folder of the repository, by full module name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


SOURCES = read_modules("ftlab")
BENCHMARKS = read_modules("benchmarks")
TESTS = read_modules("tests")
EVERYTHING = {**SOURCES, **BENCHMARKS, **TESTS}
TREES = {name: ast.parse(source) for name, source in EVERYTHING.items()}
PACKAGES = {name for name in EVERYTHING if (ROOT / name.replace(".", "/") / "__init__.py").is_file()}


def package_of(module: str) -> str:
    """`ftlab.data.images.decode` -> `data`; `ftlab` itself has none."""
    return module.partition(".")[2].partition(".")[0]


def folder_of(module: str) -> str:
    """`ftlab.data.images.decode` -> `ftlab.data.images`, which is that of `ftlab.data.images` too."""
    return module if module in PACKAGES else module.rpartition(".")[0]


def imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it, for type checkers too."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names]
            yield from (name if name in EVERYTHING else base for name in names)


def libraries(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def own_imports(modules: Iterable[str] = SOURCES) -> Iterator[tuple[str, str]]:
    """(module, what it imports) within the repository. The package itself, that is its version, is everybody's."""
    for module in modules:
        yield from ((module, name) for name in imports(module) if name in EVERYTHING and name not in ("ftlab", module))


def calls() -> Iterator[tuple[str, str, dict[str | None, str]]]:
    """(where, function, keyword arguments) of every call in ftlab."""
    for module in SOURCES:
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                yield f"{module}:{node.lineno}", ast.unparse(node.func), keywords


def check_acyclic(edges: Iterable[tuple[str, str]]) -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for importer, imported in edges:
        graph[importer] |= {imported} - {importer}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# Imports


def test_every_package_has_its_place_in_the_order() -> None:
    assert {package_of(module) for module in SOURCES} - {""} == set(ORDER)


def test_imports_only_go_down() -> None:
    # The package itself hands out the names of its API, which stands on top.
    upwards = [
        f"{importer} imports {imported}"
        for importer, imported in own_imports()
        if importer != "ftlab" and ORDER[package_of(imported)] > ORDER[package_of(importer)]
    ]
    assert not upwards
    assert not [module for module in EVERYTHING if any(name.startswith(".") for name in imports(module))], "relative"


@pytest.mark.parametrize("unit", ["modules", "packages"])
def test_imports_go_in_no_circle(unit: str) -> None:
    edges = list(own_imports())
    check_acyclic(edges if unit == "modules" else ((folder_of(a), folder_of(b)) for a, b in edges if a != "ftlab"))


def test_benchmarks_and_tests_import_in_no_circle_either() -> None:
    check_acyclic((a, b) for a, b in own_imports(BENCHMARKS) if b in BENCHMARKS)
    check_acyclic((a, b) for a, b in own_imports(TESTS) if b in TESTS and b != "tests.support")


def test_ftlab_knows_neither_benchmarks_nor_tests() -> None:
    assert not [module for module in SOURCES if libraries(module) & {"benchmarks", "tests"}]
    borrowed = {name for _, name in own_imports(BENCHMARKS) if name.startswith("tests.")}
    assert not [name for name in borrowed if not name.startswith("tests.support")]


def test_what_tests_share_lies_in_support() -> None:
    assert not [(module, name) for module, name in own_imports(TESTS) if ".test_" in name]


def test_only_the_page_knows_gradio() -> None:
    assert not [name for name in SOURCES if package_of(name) != "ui" and libraries(name) & {"gradio", "gradio_client"}]


def test_predicting_imports_nothing_of_training() -> None:
    assert not [
        pair for pair in own_imports() if package_of(pair[0]) == "inference" and package_of(pair[1]) == "training"
    ]
    code = "import sys, ftlab.inference.load_model; print([m for m in sys.modules if m.startswith('ftlab.training')])"
    assert run_python(code) == "[]"


def test_what_is_imported_is_in_the_requirements() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    homes = packages_distributions()
    # Torch brings Triton where there is one: the kernel is loaded there only, and nobody else knows it. Trackers are
    # extras, which are refused where they are not installed.
    optional = {"ftlab.data.gpu.triton_resize", "ftlab.cli.tracking.open_trackers", "ftlab.data.shards.shard_files"}
    optional |= {f"ftlab.export.openvino_format.openvino_{part}" for part in ("converter", "files")}
    optional |= {"ftlab.export.ncnn_format.ncnn_files", "ftlab.export.executorch_format.executorch_converter"}
    optional |= {f"ftlab.export.coreml_format.coreml_{part}" for part in ("converter", "reader")}
    optional |= {
        "ftlab.cli.cluster.cluster_driver",
        "ftlab.runs.cluster.ray_launcher",
        "ftlab.runs.slurm.slurm_launcher",
    }
    optional |= {"ftlab.runs.copies.remote_folder"}
    foreign = {name for module in SOURCES if module not in optional for name in libraries(module)} - {
        *("ftlab", "__future__"),
        *sys.stdlib_module_names,
    }
    assert not [name for name in foreign if not pinned & {home.lower() for home in homes.get(name, [])}]


def test_light_packages_start_without_torch_and_gradio() -> None:
    light = ", ".join(
        name for name in SOURCES if f"{name.removeprefix('ftlab.')}.".startswith(tuple(f"{x}." for x in LIGHT))
    )
    heavy = "{'torch', 'torchvision', 'timm', 'gradio', 'matplotlib'}"
    assert run_python(f"import sys, {light}; print({heavy} & set(sys.modules))") == "set()"


# Sizes


def test_packages_are_few_and_small_and_say_what_they_are_for() -> None:
    top = {package_of(name) for name in PACKAGES if name.startswith("ftlab.")}
    assert len(top) <= TOP_PACKAGES_LIMIT
    count = Counter(folder_of(module) for module in SOURCES)
    assert not {name: modules for name, modules in count.items() if modules > PACKAGE_MODULES_LIMIT}
    assert not [name for name in SOURCES if not ast.get_docstring(TREES[name])]


def test_modules_and_functions_are_short() -> None:
    assert not [name for name, source in SOURCES.items() if len(source.splitlines()) > MODULE_LINES_LIMIT]
    functions = [
        (f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for module in SOURCES
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef)
    ]
    assert not [(name, lines) for name, lines in functions if lines > FUNCTION_LINES_LIMIT]


def test_no_class_name_exists_twice() -> None:
    names = Counter(n.name for module in SOURCES for n in ast.walk(TREES[module]) if isinstance(n, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


# Tests


def test_every_module_is_found_by_its_tests_name_or_in_the_table() -> None:
    listed = [name for names in TESTED_ELSEWHERE.values() for name in names]
    assert len(set(listed)) == len(listed)
    modules = {module.removeprefix("ftlab.").replace(".", "/") for module in SOURCES if module not in PACKAGES}
    tested = {
        name for name in modules if (ROOT / "tests" / f"{name}.py").with_stem(f"test_{name.split('/')[-1]}").is_file()
    }
    assert modules - tested - set(listed) - {"__main__"} == set(), "neither a test of that name nor a row in the table"
    assert set(listed) - modules == set(), "rows about modules that are gone"
    assert set(listed) & tested == set(), "rows about modules that have a test of their name"
    assert not [path for path in TESTED_ELSEWHERE if not (ROOT / path).is_file()]


# Safety


def test_no_error_is_swallowed() -> None:
    handlers = [(m, n) for m in SOURCES for n in ast.walk(TREES[m]) if isinstance(n, ast.ExceptHandler)]
    assert not [f"{m}:{n.lineno}: bare except" for m, n in handlers if n.type is None]
    assert not [f"{m}:{n.lineno}: except: pass" for m, n in handlers if all(isinstance(x, ast.Pass) for x in n.body)]


def test_reading_a_file_never_runs_what_is_in_it() -> None:
    assert not [name for name in SOURCES if libraries(name) & UNSAFE_MODULES]
    assert not [where for where, _, keywords in calls() if keywords.get("allow_pickle", "False") != "False"]
    loaders = ("torch.load", "load_state_dict_from_url", "get_state_dict")
    loads = [(where, keywords) for where, call, keywords in calls() if call.endswith(loaders)]
    assert loads
    assert not [where for where, keywords in loads if keywords.get("weights_only") != "True"]
    assert not [where for where, call, keywords in calls() if call == "get_model" and keywords.get("weights") != "None"]


def test_only_a_training_decodes_in_its_own_process() -> None:
    """And only verified images: whatever else decodes goes through `isolated`."""
    functions = {"read_image", "read_image_size", "read_sample_stats", "verify_image"}
    decoder = "ftlab.data.images.decode"
    importers = {
        module
        for module in SOURCES
        for node in ast.walk(TREES[module])
        if (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "decode" and node.attr in functions)
        or (isinstance(node, ast.ImportFrom) and node.module == decoder and {n.name for n in node.names} & functions)
    }
    assert {module.removeprefix("ftlab.") for module in importers} == {
        *("data.channel_stats", "training.feeds.image_base", "training.feeds.images"),
        *("data.isolation.worker_main", "data.loading.decode_pool"),  # the worker itself; threads of a training
    }


def test_no_module_names_a_package_registry() -> None:
    assert not [name for name, source in SOURCES.items() if any(host in source for host in REGISTRY_HOSTS)]
