#!/usr/bin/env bash
# Makes the example photos anew from images that scikit-image installs; see README.md here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

clean="$(python -c 'from pathlib import Path; import skimage.data; print(Path(skimage.data.__file__).parent)')"

conservator degrade "$clean/coffee.png" --recipe "noise:sigma=25+jpeg:quality=40" --seed 7 -o coffee.jpg --overwrite
conservator degrade "$clean/chelsea.png" --recipe "low_light:stops=1.2+noise:sigma=8" --seed 7 -o chelsea.png --overwrite
conservator degrade "$clean/astronaut.png" --recipe "rain:value=75+haze:beta=0.9" --seed 7 -o astronaut.jpg --overwrite
