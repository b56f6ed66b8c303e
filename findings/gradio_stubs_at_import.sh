#!/usr/bin/env bash
# One would guess: importing a library executes its modules, whose compiled form is kept; type stubs are made when the
# library is released.
#
# True: at each import Gradio parses the source of each of its components twice, renders a stub (.pyi) by a Jinja template
# and compares it with the file beside the source. It is nearly half of the time that `import gradio` takes, in every
# process, also where the installation cannot be written. A subclass of a component in one's own program gets a stub beside
# the program. `gradio.component_meta.create_or_modify_pyi` does it; without it the components work as before.
#
# Seen with Gradio 6.31.0, Python 3.11, two cores:
#   81 stubs; CPU time of import gradio: 2.33 s, 1.22 s without; beside program.py: ./program.pyi
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
cd "$folder"
cat > measure.py <<'PYTHON'
import sys
import time
from importlib.machinery import PathFinder, SourceFileLoader

names = []


class Loader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        write_stub = module.create_or_modify_pyi

        def note_stub(component, name, events):
            names.append(name)
            if sys.argv[1] == "with":
                write_stub(component, name, events)

        module.create_or_modify_pyi = note_stub


class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name != "gradio.component_meta":
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = Loader(name, spec.loader.path)
        return spec


sys.meta_path.insert(0, Finder)
start = time.process_time()
import gradio

print(len(names), f"{time.process_time() - start:.2f}")
assert gradio.Textbox(value="works").value == "works"
PYTHON
cat > program.py <<'PYTHON'
import gradio


class Shout(gradio.Textbox):
    """A text field of a program."""
PYTHON
export GRADIO_ANALYTICS_ENABLED=False
"$folder/venv/bin/python" measure.py with >/dev/null  # compiles the modules
read -r stubs with_stubs < <("$folder/venv/bin/python" measure.py with)
read -r _ without < <("$folder/venv/bin/python" measure.py without)
"$folder/venv/bin/python" program.py
"$folder/venv/bin/python" -c 'import gradio, platform; print("Gradio", gradio.__version__, "Python", platform.python_version())'
echo "$stubs stubs; CPU time of import gradio: $with_stubs s, $without s without; beside program.py: $(ls ./*.pyi 2>/dev/null || echo nothing)"
((stubs > 50)) || { echo "few stubs are made now"; exit 1; }
[[ -e program.pyi ]] || { echo "no stub beside a program now"; exit 1; }
python3 -c "import sys; sys.exit(float('$with_stubs') < 1.3 * float('$without'))" || { echo "stubs take little time now"; exit 1; }
