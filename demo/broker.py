"""No broker to install: the queue is a folder."""


def use_folder(app, queue):
    """Lets the Celery application send its tasks through this folder, and take them from it."""
    app.conf.broker_url = "filesystem://"
    app.conf.broker_transport_options = {
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": f"{queue}/control",
        "polling_interval": 0.02,
    }
    return app
