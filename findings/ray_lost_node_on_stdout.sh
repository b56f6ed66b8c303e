#!/usr/bin/env bash
# One would guess: with `ray.init(log_to_driver=False)` nothing of the cluster's logs comes to the program that has called
# it, so that its standard output is what it prints itself.
#
# True: where a node is lost, Ray prints that to the standard output of the program, with the last lines of the node's log.
# A program whose output others read (JSON lines, say) has to keep its output apart from `sys.stdout`.
#
# Seen with ray 2.60.0:
#   45 lines on standard output, the first: (raylet) Raylet is terminated. Termination is unexpected. ...
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray==2.60.0" "psutil==7.2.2"
cat > "$folder/lost_node.py" <<'PYTHON'
import contextlib
import io
import re
import sys
import time

import ray
from ray.cluster_utils import Cluster

here = {"object_store_memory": 100_000_000, "node_ip_address": "127.0.0.1", "dashboard_agent_listen_port": 0}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **here})
node = cluster.add_node(num_cpus=1, **here)
output = io.StringIO()
with contextlib.redirect_stdout(output):
    ray.init(cluster.address, log_to_driver=False)
    answer = ray.remote(lambda: time.sleep(3)).options(max_retries=5).remote()
    time.sleep(2)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1, **here)
    ray.get(answer)
    ray.shutdown()
cluster.shutdown()
lines = [re.sub(r"\x1b\[\d+m", "", line) for line in output.getvalue().splitlines() if line.strip()]
print(len(lines), "lines on standard output, the first:", lines[0][:60] if lines else "none", "...")
sys.exit(not any("(raylet)" in line for line in lines))
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
unset RAY_ADDRESS RAY_API_SERVER_ADDRESS
"$folder/venv/bin/python" "$folder/lost_node.py" 2> "$folder/errors" || { tail -3 "$folder/errors"; echo "Ray keeps a lost node off the standard output now"; exit 1; }
