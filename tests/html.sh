#!/usr/bin/env bash
# Looks at the HTML report: an accessibility checker in a headless browser, and screenshots at three widths, light and
# dark, into the folder given (default: target/html). Wants Chromium and npm.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-target/html}")
browser=${MIGBENCH_TEST_BROWSER:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || { echo "skipped: there is no Chromium here"; exit 0; }
mkdir -p "$out"
if [ ! -f "$out/package/axe.min.js" ]; then
  (cd "$out" && npm pack --silent axe-core@4 && tar -xzf axe-core-*.tgz package/axe.min.js) \
    || { echo "skipped: axe-core cannot be fetched"; exit 0; }
fi
MIGBENCH_TEST_BROWSER=$browser MIGBENCH_TEST_AXE=$out/package/axe.min.js cargo test --test records html
cargo run --quiet -- report --results "${MIGBENCH_RESULTS:-tests/fixtures/runs}" --output "$out/report.html"
for width in 390 800 1400; do
  for mode in light dark; do
    dark=; [ $mode = light ] || dark=--blink-settings=preferredColorScheme=0
    # shellcheck disable=SC2086 # nothing, or one option
    "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars $dark \
      --user-data-dir="$out/profile" --window-size=$width,4000 --screenshot="$out/$width-$mode.png" \
      "file://$out/report.html" 2>/dev/null
  done
done
rm -rf "$out/profile"
echo "screenshots in $out"
