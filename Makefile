# Every target is a function of infra/targets.py; `make help` lists them, ARGS goes to the command behind it.
PYTHON ?= python3
export PROFILE
TARGETS := demo test check contracts trainer vllm bench-lifecycle bench-events bench-startup bench-bus bench-hotload torture simulate mutants up clean

.PHONY: help $(TARGETS)
help $(TARGETS):
	@command -v $(PYTHON) >/dev/null || { echo "✗ $(PYTHON) is missing. To mend: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) infra/bootstrap.py $@ $(ARGS)
