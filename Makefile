# Everything lives in .venv, made from pyproject.toml; `make demo` and `make test` are all a new checkout needs.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test lint types contracts unit samples bench bench-tools fuzz-nca clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(RUN)/flowctl generate pcaps/shop-v2.log.gz pcaps/shop-v5.log.gz pcaps/shop.pcap \
		--inventory pcaps/inventory.json --target kubernetes -o demo-out
	$(RUN)/flowctl generate pcaps/aws/vpc-v5.log.gz --inventory pcaps/aws/describe-network-interfaces.json \
		--inventory pcaps/aws/describe-instances.json --target aws-sg -o demo-out/aws

test: lint types contracts unit

lint: $(VENV)/.installed
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(VENV)/.installed
	$(RUN)/mypy

contracts: $(VENV)/.installed
	$(RUN)/lint-imports

unit: $(VENV)/.installed
	$(RUN)/pytest -n 2 --dist loadfile --durations=12

samples: $(VENV)/.installed
	$(RUN)/python pcaps/make.py

$(VENV)/.bench: $(VENV)/.installed
	$(RUN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(RUN)/pip install --quiet --disable-pip-version-check -e '.[bench-captures]' || echo "nfstream has no wheel for this system"
	touch $@

# what captures are measured against; where it cannot be installed its rows say so
bench-tools:
	@command -v nfpcapd >/dev/null && command -v nfdump >/dev/null && command -v tcpdump >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nfdump tcpdump >/dev/null; } \
		|| echo "nfdump and tcpdump are not installed and cannot be; install them to measure against them"

bench: $(VENV)/.bench bench-tools
	$(RUN)/python -m tests.bench.run

# NCA pins what it needs, so it has an environment of its own; nothing of it is imported here
.venv-nca/.installed: Makefile
	$(PYTHON) -m venv .venv-nca
	.venv-nca/bin/pip install --quiet --disable-pip-version-check network-config-analyzer==2.1.0
	touch $@

fuzz-nca: $(VENV)/.installed .venv-nca/.installed
	$(RUN)/python -m tests.nca.fuzz --rounds $(or $(ROUNDS),1000)

clean:
	rm -rf $(VENV) .venv-nca demo-out bench-data
