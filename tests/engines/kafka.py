"""A real Kafka broker in KRaft mode, from the jars of Maven Central; it can be killed and restarted."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Message, TopicPartition

from kpanic.shipper.api import split_address
from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "4.1.0"
CLUSTER = "a3BhbmljLXRlc3RzLWthZg"
"""A cluster's id: 16 bytes in base64."""


def jars() -> Path:
    """Resolve the broker's jars, once; it takes half a minute."""
    folder = parts.cache() / f"kafka-{VERSION}"
    try:
        with parts.made_once(folder) as work:
            if work:
                for jar in parts.maven_with_dependencies("org.apache.kafka", "kafka_2.13", VERSION):
                    shutil.copy(jar, work / jar.name)
    except Exception as error:  # noqa: BLE001 - whatever a download raises
        parts.missing("Kafka", error)
    return folder


class Kafka:
    """A single broker, which is its own controller.

    :param listener: protocol of the listener for clients; the broker itself and :meth:`records` have another.
    :param settings: of the broker, beside those that each needs.
    :param users: passwords by name, for SCRAM-SHA-256.
    :ivar hosts: the address for clients.
    """

    def __init__(
        self,
        folder: Path,
        listener: str = "PLAINTEXT",
        settings: dict[str, object] | None = None,
        users: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        clients, inner, controller = (f"127.0.0.1:{parts.free_port(24700)}" for _ in range(3))
        self.hosts = [clients]
        self._inner = inner
        made: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": f"CLIENTS://{clients},INNER://{inner},CONTROLLER://{controller}",
            "listener.security.protocol.map": f"CLIENTS:{listener},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INNER",
            "log.dirs": folder / "kafka",
            "num.partitions": 3,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            # After a kill the broker waits until its old registration has expired.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 250,
            **(settings or {}),
        }
        self._config = folder / "server.properties"
        self._config.write_text("".join(f"{key}={value}\n" for key, value in made.items()))
        self._process: subprocess.Popen[bytes] | None = None
        added = (
            f"--add-scram=SCRAM-SHA-256=[name={name},password={password}]"
            for name, password in (users or {}).items()
        )
        format_ = self._command("kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER, *added)
        subprocess.run([*format_, "-c", self._config], check=True, capture_output=True, timeout=180)

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        log = self._folder / "console"
        with log.open("ab") as console:
            command = self._command("kafka.Kafka", self._config)
            process = self._process = subprocess.Popen(command, stdout=console, stderr=console)
        address = split_address(self.hosts[0], 0)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(address, 1):
                return True
            return False

        until(answers, 180, every=0.1)

    def kill(self) -> None:
        """Kill it, as in a power failure."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def records(self, topic: str) -> list[Message]:
        """Return the records of a topic, those of a partition in order; none if the topic does not exist."""
        consumer = Consumer({"bootstrap.servers": self._inner, "group.id": "tests"})
        try:
            found = consumer.list_topics(topic, timeout=60).topics[topic]
            if found.error is not None:
                return []
            places = [TopicPartition(topic, number, 0) for number in found.partitions]
            wanted = sum(consumer.get_watermark_offsets(place, timeout=60)[1] for place in places)
            consumer.assign(places)
            taken: list[Message] = []
            until(lambda: taken.extend(consumer.consume(1000, 0.1)) or len(taken) >= wanted)
        finally:
            consumer.close()
        return taken

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """Return the documents of a topic."""
        return [json.loads(record.value() or b"") for record in self.records(topic)]

    def _command(self, name: str, *arguments: object) -> list[str]:
        options = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars()}/*")
        return [str(one) for one in (parts.java() / "bin" / "java", *options, name, *arguments)]
