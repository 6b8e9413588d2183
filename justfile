# The commands that people who change corrtool need: `just` lists them.

default:
    @just --list

# Install the package and its development tools into the active environment
setup:
    pip install -e '.[dev]'

# All tests, or those given: just test tests/tasks
test *ARGUMENTS:
    pytest {{ARGUMENTS}}

# The tests without the fault harness, the workflows and the chains of golden values
test-fast:
    pytest --ignore tests/faults --ignore tests/workflows --ignore tests/golden

# How many small mistakes in a module its tests find: just mutants corrtool/correspondence/losses.py
mutants *MODULES:
    OMP_NUM_THREADS=1 python tests/mutation/run.py {{MODULES}}

# Lint, format check and types, as CI runs them
lint:
    ruff check .
    ruff format --check .
    mypy

# Format the code, and apply what ruff can correct by itself
format:
    ruff format .
    ruff check --fix .

# Write what is made from the settings and results: docs/cli.md, corrtool/arguments.py, corrtool/schemas/
docs:
    python -m corrtool.cli.reference > docs/cli.md
    python -m corrtool.cli.arguments > corrtool/arguments.py
    python -m corrtool.cli.schemas corrtool/schemas

# Build the documentation site into build/site, as strictly as CI does
site:
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# Compare everything that is computed with an older commit, to the last bit: just compare 646d25c
compare COMMIT:
    python tests/golden/compare.py {{COMMIT}}

# What CI runs: a fresh environment, all tests, lint, types, the site
ci:
    bash .ci/run
