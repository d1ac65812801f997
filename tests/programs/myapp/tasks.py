"""For Celery. The queue and the results are folders: no broker to install."""

import os

from celery import Celery

from myapp import db

queue = os.environ["MYAPP_QUEUE"]
app = Celery("myapp.tasks", broker="filesystem://", backend=f"file://{queue}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{queue}/tasks",
    "data_folder_out": f"{queue}/tasks",
    "control_folder": f"{queue}/control",
    "polling_interval": 0.02,
}
app.conf.worker_cancel_long_running_tasks_on_connection_loss = False


@app.task
def answer(number):
    return db.answer(number)
