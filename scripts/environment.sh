# Sourced by the other scripts: makes `.venv` from a lock file, once for each state of the lock.
# usage: environment LOCK_FILE

python_3_11_or_newer() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer found. Install one, or name it: PYTHON=/path/to/python $0" >&2
    exit 1
}

environment() {
    lock="$1"
    [ -x .venv/bin/python ] || "$(python_3_11_or_newer)" -m venv .venv
    mark=".venv/installed-$(cat "$lock" pyproject.toml | cksum | tr ' ' '-')"
    [ -e "$mark" ] && return
    echo "Installing the pinned packages of $lock into .venv …" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
        --no-deps --no-build-isolation --editable .
    : > "$mark"
}
