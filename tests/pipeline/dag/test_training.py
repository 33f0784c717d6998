from tfx.components import Trainer
from tfx.components.util import udf_utils
from tfx.types import standard_component_specs as specs

from components.span_example_gen import SpanExampleGenExecutor
from components.span_statistics import SpanStatisticsExecutor
from models import training
from pipeline.dag.pipelines import burn_in_pipeline


def test_traced_graphs_survive_the_reload_of_the_entry_point(run, monkeypatch):
    components = burn_in_pipeline(run.deployment, run.paths).components
    (trainer,) = (component for component in components if isinstance(component, Trainer))
    properties = {specs.RUN_FN_KEY: trainer.exec_properties[specs.RUN_FN_KEY]}
    calls = []
    # TFX reloads the entry point's module; the replacement shows that `models.training` is not reloaded.
    monkeypatch.setattr(training, "run_fn", calls.append)

    for _ in range(2):
        udf_utils.get_fn(properties, "run_fn")("arguments")

    assert calls == ["arguments", "arguments"]


def test_a_beam_executor_passes_its_options_on_unchanged():
    options = ["--runner=FnApiRunner"]
    for executor in (SpanExampleGenExecutor, SpanStatisticsExecutor):
        context = executor.Context(beam_pipeline_args=options, tmp_dir="scratch", unique_id="here")
        instance = executor(context)
        assert instance._beam_pipeline_args == options
        assert instance._get_tmp_dir().startswith("scratch")
