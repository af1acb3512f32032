"""Five walkthroughs, each in the words of users who come from another program of this kind."""

from __future__ import annotations

from programs import Shell
from walking import walk


def test_json_jobs_and_a_pool_of_workers(shell: Shell) -> None:
    """Jobs as JSON, workers in the background, the dead-letter queue."""
    walk(
        shell,
        """
        is "$(queuectl enqueue '{"id":"job1","command":"sleep 0.2"}')" job1
        queuectl enqueue '{"id":"job2","command":"echo Hello World"}'
        queuectl config set max-retries 2
        queuectl config set backoff-base 0.05
        queuectl enqueue '{"id":"job3","command":"exit 1"}'
        queuectl list --state pending | grep -c '^job' | { read n; is "$n" 3; }
        queuectl worker start --count 3 & worker=$!
        until_ok queuectl wait job1 job2
        queuectl wait job3 || is $? 1
        queuectl status
        is "$(queuectl list --state completed --json | field '[0]["state"]')" completed
        queuectl dlq list | grep job3
        queuectl worker stop
        wait $worker
        is "$(queuectl dlq retry job3)" job3
        is "$(queuectl list --state pending --json | field '[0]["attempts"]')" 0
        """,
    )


def test_options_instead_of_json(shell: Shell) -> None:
    """Flags, priority, delay, logs, metrics."""
    walk(
        shell,
        """
        queuectl enqueue --command "echo low >> order" --priority 1 --id low
        queuectl enqueue --command "echo high >> order" --priority 10 --id high
        queuectl enqueue --command "sleep 5" --timeout 200ms --max-retries 1 --id slow
        queuectl enqueue "date" --delay 200ms --id later
        queuectl worker start --burst --poll-interval 100ms
        is "$(head -1 order)" high
        queuectl show slow | grep 'timed out after 200ms'
        is "$(queuectl show later --json | field '["state"]')" completed
        queuectl logs later | grep :
        is "$(queuectl metrics --json | field '["completed_jobs"]')" 3
        is "$(queuectl dlq --json | field '[0]["id"]')" slow
        """,
    )


def test_a_worker_in_another_terminal(shell: Shell) -> None:
    """`config get`, underscores in keys, `worker --stop`, `list --state`."""
    walk(
        shell,
        """
        queuectl config set max_retries 3
        queuectl config set backoff_base 2
        is "$(queuectl config get max-retries)" 3
        queuectl config get | grep '^backoff-base  *2'
        queuectl worker start --count 2 & worker=$!
        queuectl enqueue '{"id":"ok","command":"echo done"}'
        queuectl enqueue '{"id":"bad","command":"nonexistent_command_xyz","max_retries":1}'
        queuectl wait ok
        queuectl wait bad || is $? 1
        is "$(queuectl show bad --json | field '["exit_code"]')" 127
        until_ok queuectl worker list
        for state in pending processing completed failed dead; do
            queuectl list --state $state >/dev/null
        done
        is "$(queuectl status --json | field '["jobs"]["dead"]')" 1
        queuectl worker --stop
        wait $worker
        is "$(queuectl worker list --json)" '[]'
        """,
    )


def test_a_retry_that_succeeds(shell: Shell) -> None:
    """Backoff as it is told, `run_at`, a list of many jobs from a file, throughput."""
    walk(
        shell,
        """
        queuectl config set backoff-base 0.05 2>&1 | grep '50ms'
        queuectl enqueue '{"id":"flaky","command":"test -e ready || { touch ready; exit 1; }"}'
        queuectl enqueue "{\\"id\\":\\"at\\",\\"command\\":\\"true\\",
            \\"run_at\\":\\"$(date -u -d '+4 seconds' +%Y-%m-%dT%H:%M:%SZ)\\"}"
        for n in 1 2 3 4 5; do
            echo "{\\"command\\":\\"echo job $n\\",\\"priority\\":$n}"
        done > jobs
        is "$(queuectl enqueue --file jobs | wc -l)" 5
        queuectl worker start -c 2 --burst --verbose 2> told
        grep 'flaky run 1 failed' told
        grep 'flaky run 2 completed' told
        is "$(queuectl show flaky --json | field '["attempts"]')" 2
        queuectl history flaky | grep job.retried
        is "$(queuectl stats --json | field '["total_jobs"]')" 7
        is "$(queuectl list --state completed --limit 0 --json | field '.__len__()')" 7
        """,
    )


def test_a_day_with_trouble(shell: Shell) -> None:
    """A worker killed in the middle, a job called off, the dead brought back or purged."""
    walk(
        shell,
        """
        queuectl enqueue '{"id":"long","command":"test -e again || { touch again; sleep 60; }"}'
        queuectl worker start & first=$!
        until_ok test -e again
        # The process itself, not the shell around it.
        kill -9 $(queuectl worker list --json | field '[0]["pid"]')
        wait $first || is $? 137
        queuectl enqueue --id endless --tag batch "sleep 60"
        queuectl worker start -c 2 & second=$!
        queuectl wait long
        for _ in $(seq 200); do
            [ "$(queuectl show endless --json | field '["state"]')" = processing ] && break
            sleep 0.05
        done
        is "$(queuectl cancel --tag batch --reason 'too long' -y)" endless
        queuectl wait endless || is $? 1
        queuectl enqueue --id doomed --max-retries 1 -- false
        queuectl wait doomed --exit-code || is $? 1
        is "$(queuectl dlq retry --all --reason 'once more')" doomed
        queuectl wait doomed || is $? 1
        is "$(queuectl dlq purge --all -y)" doomed
        queuectl history doomed | grep 'once more'
        is "$(queuectl history long --json | field '[2]["type"]')" lease.expired
        queuectl worker stop
        wait $second
        queuectl log verify
        queuectl doctor
        """,
    )
