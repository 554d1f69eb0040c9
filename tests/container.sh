#!/usr/bin/env bash
# Builds the image with a real engine, then runs make demo in it as user 1000, with the results in a mounted folder:
#
#     tests/container.sh /tmp/results
#     tests/container.sh /tmp/results --volume /etc/pip.conf:/etc/pip.conf:ro    # with options for the engine
#
# As root. Needs buildah and debootstrap (apt-get install buildah debootstrap), but no daemon and no registry of images:
# the base is a Debian with its own Python, under the name that the Dockerfile begins with. Needs 20 GB in $TMPDIR, which
# are free again at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in buildah debootstrap; do
  if ! command -v "$program" >/dev/null; then
    echo "error: $program is not installed; apt-get install $program" >&2
    exit 2
  fi
done
results=${1:?"name a folder for the results"}
shift
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
base=$(sed -n 's/^FROM \(.*\) AS product$/\1/p' Dockerfile)

# Images and containers are kept apart from the engine's own, and go at the end: the base has another's name.
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
root=$work/debian
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root"
container=$(buildah from scratch)
buildah add --quiet "$container" "$root" /
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm "$container" "docker.io/library/$base"

buildah build --pull=never --target product --tag small-image-classifiers "$@" .
mkdir -p "$results"
chown 1000:1000 "$results"
container=$(buildah from --pull=never small-image-classifiers)
buildah run --user 1000:1000 --volume "$(realpath "$results"):/app/output" "$@" "$container" -- make demo
buildah rm "$container" >/dev/null

table=$results/demo/model_comparison.csv
if [ "$(stat -c %u "$table")" != 1000 ] || ! grep -q resnet50_model "$table"; then
  echo "error: $table is not what user 1000 should have left" >&2
  exit 1
fi
echo "make demo in the container: its results are in $results/demo/"
