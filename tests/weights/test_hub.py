"""Weights from the Hub: what is asked for, what is kept, and what fails in one line."""

from safetensors.numpy import save_file
from weight_standins import as_mmsegmentation, refusal, tiny

from arm_jax.weights import pretrained


def hub(monkeypatch, download):
    """Puts `download(repository, name, local_files_only)` in place of the Hub's client."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


def test_the_hub_is_asked_for_safetensors_first(tmp_path, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    model = tiny()
    save_file(as_mmsegmentation(model), tmp_path / "weights.safetensors")
    asked = []

    def download(repository, name, local_files_only):
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        asked.append((repository, name))
        if name == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / "weights.safetensors")

    hub(monkeypatch, download)
    assert not pretrained.load(model, "hf://owner/net").fresh
    assert not pretrained.load(model, "hf://owner/net/folder/file.safetensors").fresh
    assert asked == [
        ("owner/net", "model.safetensors"),
        ("owner/net", "pytorch_model.bin"),
        ("owner/net", "folder/file.safetensors"),
    ]


def test_what_is_in_the_cache_needs_no_network(tmp_path, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    model = tiny()
    save_file(as_mmsegmentation(model), tmp_path / "cached.safetensors")

    def download(repository, name, local_files_only):
        assert local_files_only
        if name == "model.safetensors":
            raise LocalEntryNotFoundError("not here")
        return str(tmp_path / "cached.safetensors")

    hub(monkeypatch, download)
    assert not pretrained.load(model, "hf://owner/net").fresh


def test_without_a_network_the_hub_gives_one_line(monkeypatch, capfd):
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    client = logging.get_logger("huggingface_hub.utils._http")
    level = logging.get_verbosity()

    def offline(repository, name, local_files_only):
        if not local_files_only:
            client.warning("Name or service not known; retrying")
        raise LocalEntryNotFoundError("Name or service not known\nRetrying")

    hub(monkeypatch, offline)
    message = refusal(tiny(), "hf://timm/resnet101c.none")
    assert message == "hf://timm/resnet101c.none: not in the cache, and the Hub cannot be reached"
    assert "owner/repository" in refusal(tiny(), "hf://resnet101c")
    assert "retrying" not in "".join(capfd.readouterr()) and logging.get_verbosity() == level


def test_an_address_that_the_client_refuses_is_one_line():
    assert "cannot be downloaded" in refusal(tiny(), "hf://owner/not a name")
