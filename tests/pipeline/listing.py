"""Readable listings of compiled pipelines for the golden files: nodes, inputs, parameters."""

import json


def list_pipeline(ir):
    """One block a node of TFX's compiled pipeline: its inputs with their producers, its parameters."""
    blocks = [f"pipeline {ir.pipeline_info.id}"]
    for wrapped in ir.nodes:
        node = wrapped.pipeline_node
        lines = [f"{node.node_info.id} ({node.node_info.type.name.rpartition('.')[2]})"]
        for name, spec in sorted(node.inputs.inputs.items()):
            lines.append(f"  {name} <- {', '.join(sources(spec)) or 'dynamic'}")
        after = set(node.upstream_nodes) - {
            channel.producer_node_query.id
            for spec in node.inputs.inputs.values()
            for channel in spec.channels
        }
        if after:
            lines.append(f"  after {', '.join(sorted(after))}")
        for name, value in sorted(node.parameters.parameters.items()):
            lines.append(f"  {name} = {parameter_text(value)}")
        lines.append(f"  -> {', '.join(sorted(node.outputs.outputs)) or 'nothing'}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def sources(spec):
    channels = [f"{channel.producer_node_query.id}.{channel.output_key}" for channel in spec.channels]
    mixed = spec.mixed_inputs.input_keys
    return [*channels, *mixed]


def parameter_text(value):
    kind = value.WhichOneof("value")
    if kind == "field_value":
        field = value.field_value
        return readable(getattr(field, field.WhichOneof("value")))
    if kind == "placeholder":
        text = str(value.placeholder)
        keys = [line.partition(": ")[2].strip('"') for line in text.splitlines() if "key:" in line]
        return "{" + ", ".join(keys) + "}"
    return f"({kind})"


def list_spec(spec, platforms):
    """One block a task of Kubeflow's compiled pipeline: dependencies, inputs, resources and mounts."""
    blocks = [f"pipeline {spec['pipelineInfo']['name']}"]
    executors = spec["deploymentSpec"]["executors"]
    for name, task in sorted(spec["root"]["dag"]["tasks"].items()):
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        lines = [name]
        for after in sorted(task.get("dependentTasks", [])):
            lines.append(f"  after {after}")
        for kind in ("artifacts", "parameters"):
            for key, value in sorted(task.get("inputs", {}).get(kind, {}).items()):
                lines.append(f"  {key} {input_text(value)}")
        container = executors[label].get("container")
        if container:
            lines.append(f"  image {container['image']}")
            if "resources" in container:
                lines.append(f"  resources {json.dumps(container['resources'], sort_keys=True)}")
        mounts = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"].get(label, {})
        if mounts:
            lines.append(f"  kubernetes {json.dumps(mounts, sort_keys=True)}")
        if "retryPolicy" in task:
            lines.append(f"  retries {json.dumps(task['retryPolicy'], sort_keys=True)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def input_text(value):
    if "taskOutputArtifact" in value:
        source = value["taskOutputArtifact"]
        return f"<- {source['producerTask']}.{source['outputArtifactKey']}"
    if "taskOutputParameter" in value:
        source = value["taskOutputParameter"]
        return f"<- {source['producerTask']}.{source['outputParameterKey']}"
    if "componentInputParameter" in value or "componentInputArtifact" in value:
        return f"<- pipeline.{value.get('componentInputParameter') or value.get('componentInputArtifact')}"
    return f"= {readable(value.get('runtimeValue', {}).get('constant', value))}"


def readable(value):
    """A JSON mapping with one key a line, so that the diff of a changed setting is short."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return value
    if not isinstance(value, dict):
        return json.dumps(value)
    return "".join(
        f"\n      {key}: {json.dumps(value[key], sort_keys=True)}" for key in sorted(value)
    ).lstrip(" ")
