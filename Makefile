PYTHON ?= python3
BIN := .venv/bin
LOADER := env -u SELLIGENT_DATABASE_URL -u DATABASE_URL -u SELLIGENT_SCHEMA $(BIN)/selligent-loader

.PHONY: demo test lint bench clean

demo: .demo/events.jsonl
	@$(LOADER) db start
	@$(LOADER) init
	@$(LOADER) load .demo/events.jsonl
	@$(LOADER) db psql -- -P pager=off -c "\
	    select campaign_name, delivered, opened, clicked, open_rate, click_rate \
	    from selligent.campaigns order by delivered desc limit 10"

.demo/events.jsonl: .venv/ready
	@mkdir -p .demo
	@$(LOADER) sample --events 100000 --seed 1 --out $@

test: .venv/ready
	$(BIN)/pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .demo
