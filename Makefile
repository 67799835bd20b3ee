PYTHON ?= python3
BIN := .venv/bin
LOADER := env -u SELLIGENT_DATABASE_URL -u DATABASE_URL -u SELLIGENT_SCHEMA $(BIN)/selligent-loader

#: Where the demo's endpoint listens, the webhook that its events are forwarded to, and the local Selligent that gets the
#: calls of a site.
DEMO_PORT ?= 18080
DEMO_WEBHOOK_PORT ?= 18081
DEMO_SELLIGENT_PORT ?= 18082
#: Last day of the demo's events; by default yesterday when they are written.
DEMO_UNTIL ?=
SAMPLE := $(LOADER) sample --events 100000 --seed 1 $(if $(DEMO_UNTIL),--until $(DEMO_UNTIL))

.PHONY: demo test lint lint-python lint-sql bench clean

demo: .demo/events.jsonl .demo/site.sql .demo/webhook-secret .demo/selligent-secret
	@$(LOADER) db start
	@$(LOADER) db psql -- -q -f .demo/site.sql
	@$(LOADER) init --segment-schema site
	@$(LOADER) load .demo/events.jsonl
	@$(LOADER) db psql -- -P pager=off -c "\
	    select campaign_name, delivered, human_opened as opened, human_clicked as clicked, visited, conversions, revenue \
	    from selligent.campaigns \
	    join (select campaign_id, people as visited from selligent.campaign_funnel where step = 'visited') as visits \
	        using (campaign_id) \
	    order by revenue desc limit 10"
	@$(LOADER) report --out .demo/report.html
	@$(LOADER) integrations remove demo 2>/dev/null || true
	@$(LOADER) integrations add webhook --name demo --set url=http://127.0.0.1:$(DEMO_WEBHOOK_PORT) --allow-http --allow-private \
	    --secret-file .demo/webhook-secret
	@$(LOADER) integrations remove selligent 2>/dev/null || true
	@$(LOADER) integrations add selligent --set url=http://127.0.0.1:$(DEMO_SELLIGENT_PORT) --allow-http --allow-private \
	    --secret-file .demo/selligent-secret --set organization=Acme --set max_wait=1 \
	    --set profile_list=customers --set business_key=CUSTOMER_ID --set "profile_fields=MAIL=traits.email, PLAN=traits.plan" \
	    --set "events_fields=EVENT_ID=messageId, CUSTOMER_ID=userId, EVENT=event, PRICE=properties.price" \
	    --set "allowed_events=Order Completed"
	@key=$$($(LOADER) keys create --label demo) && site=$$($(LOADER) keys create --site --label demo) && \
	{ $(BIN)/python -m tests.support.demo_webhook .demo/webhook-secret $(DEMO_WEBHOOK_PORT) & } && webhook=$$! && \
	{ $(BIN)/python -m tests.support.demo_selligent $(DEMO_SELLIGENT_PORT) & } && selligent=$$! && \
	{ $(LOADER) serve --port $(DEMO_PORT) --spool .demo/spool --load-every 1s --forward & } && server=$$! && \
	trap "kill $$server $$webhook $$selligent" EXIT && \
	$(BIN)/python -m tests.support.segment_clients tests/support/send_demo.py http://127.0.0.1:$(DEMO_PORT) $$key && \
	$(BIN)/python -m tests.support.segment_clients tests/support/send_demo_site.py http://127.0.0.1:$(DEMO_PORT) $$site && \
	for _ in 1 2 3 4 5 6 7 8 9 10; do \
	    [ $$($(LOADER) integrations list --json | grep -o '"lag_events": 0' | wc -l) = 2 ] && break || sleep 1; \
	done && $(LOADER) integrations list
	@$(LOADER) db psql -- -P pager=off -c "\
	    select event_text, user_id, context_traits_email, uuid_ts - received_at as loaded_after \
	    from selligent.tracks where context_traits_email = 'anna@example.com' order by \"timestamp\" desc limit 3"

.demo/events.jsonl: .venv/ready
	@mkdir -p .demo
	@$(SAMPLE) --out $@

.demo/webhook-secret:
	@mkdir -p .demo
	@$(PYTHON) -c "import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())" > $@

.demo/selligent-secret:
	@mkdir -p .demo
	@echo service-key:service-secret > $@

.demo/site.sql: .venv/ready
	@mkdir -p .demo
	@$(SAMPLE) --site --out $@

test: .venv/ready
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=10

lint: lint-python lint-sql

lint-python: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-sql: .venv/ready
	$(BIN)/sqlfluff lint sql

bench: .venv/ready
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .demo .clients
