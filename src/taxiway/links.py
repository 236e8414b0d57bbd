"""Every address that Taxiway shows: of MLflow's pages, opened at model training, and of the stack's servers."""

from __future__ import annotations

from urllib.parse import quote, urlencode

_LOOPBACK = "127.0.0.1"
# MLflow 3.17 opens every page in its generative-AI mode unless the link says otherwise.
_TRAINING = "workflowType=machine_learning"


def on_this_machine(port: int) -> str:
    """The address of a server on a port of this machine.

    Examples
    --------
    >>> on_this_machine(5000)
    'http://127.0.0.1:5000'
    """
    return f"http://{_LOOPBACK}:{port}"


def jupyterlab(server: str, token: str) -> str:
    """JupyterLab, signed in.

    Examples
    --------
    >>> jupyterlab("http://127.0.0.1:8888", "abc")
    'http://127.0.0.1:8888/lab?token=abc'
    """
    return f"{server}/lab?token={quote(token, safe='')}"


def experiments(server: str) -> str:
    """MLflow's list of experiments.

    Examples
    --------
    >>> experiments("http://127.0.0.1:5000")
    'http://127.0.0.1:5000/#/experiments?workflowType=machine_learning'
    """
    return _page(server, "experiments")


def sweep(server: str, experiment_id: str, parent_run_id: str, metric: str, higher_is_better: bool = True) -> str:
    """The candidates of a sweep, the best one first, with a chart of each metric.

    Parameters
    ----------
    server : str
        The address that MLflow's pages are at.
    experiment_id, parent_run_id : str
        MLflow's ids of the experiment and of the sweep.
    metric : str
        What the candidates are sorted by, ``holdout_roc_auc``.
    higher_is_better : bool

    Returns
    -------
    str
    """
    shown = {
        "searchFilter": f"tags.mlflow.parentRunId = '{parent_run_id}'",
        # Sorted by time, as they are by default, MLflow 3.17 hides the candidates below their sweep.
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": "false" if higher_is_better else "true",
        "compareRunsMode": "CHART",
    }
    return f"{_page(server, 'experiments', experiment_id, 'runs')}&{urlencode(shown, quote_via=quote)}"


def model(server: str, name: str) -> str:
    """A registered model with its versions.

    Examples
    --------
    >>> model("http://127.0.0.1:5000", "card-tip")
    'http://127.0.0.1:5000/#/models/card-tip?workflowType=machine_learning'
    """
    return _page(server, "models", name)


def version(server: str, name: str, number: int) -> str:
    """One version of a registered model.

    Examples
    --------
    >>> version("https://mlflow.example.org/", "tip", 3)
    'https://mlflow.example.org/#/models/tip/versions/3?workflowType=machine_learning'
    """
    return _page(server, "models", name, "versions", str(number))


def _page(server: str, *path: str) -> str:
    return f"{server.rstrip('/')}/#/{'/'.join(quote(part, safe='') for part in path)}?{_TRAINING}"
