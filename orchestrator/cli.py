"""The command line: `inner run | think | resume | threads | show | export | doctor | voice`.

Owns the spelling of commands and flags, their help, and how an error reaches a person: one line, what to do, an
exit code, and no traceback unless asked. What the commands do is elsewhere; heavy imports wait until one is run, so
that `inner --help` is quick.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.errors import InnerError, PromptFileError
from orchestrator.settings import Settings, load_settings
from voices.role import ModeSpec, UnknownVoice, load_modes

if TYPE_CHECKING:
    from orchestrator.store import Store

EXIT_INTERNAL = 70
"""sysexits.h: an error of ours."""
READ_LIMIT = 8_000_000
"""Bytes of an opening from stdin that are looked at: far over the limit of an opening, which says its own word."""

app = typer.Typer(
    name="inner",
    help="Think together with a small choir of inner voices. They go on by themselves while the way is clear, "
    "and ask you where it really forks.",
    epilog="New here?  [bold]inner run[/bold] opens the page,  [bold]inner think[/bold] is the same in this terminal.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
voice_app = typer.Typer(help="Voices of your own.", rich_markup_mode="rich")
app.add_typer(voice_app, name="voice")

Model = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Any GGUF file; without it the embedded SmolLM2-135M-Instruct."),
]
Threads = Annotated[int | None, typer.Option(help="Threads of the engine; measured at start without it.")]
Budget = Annotated[
    float | None,
    typer.Option(help="Questions a decision at most, over the long run: 0 never, 0.1 one in ten."),
]
Seed = Annotated[int | None, typer.Option(help="Makes the draws repeatable.")]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks, and logs of every level.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line (show, doctor: one in all).")]
Steps = Annotated[int | None, typer.Option(min=1, max=100_000, help="End after so many thoughts.")]
Port = Annotated[int | None, typer.Option(help="Port of the page; without it 8501 or the next free one.")]
ArbiterOption = Annotated[
    Literal["terminal", "web", "auto"],
    typer.Option(
        help="Who chooses at the forks: you here, you on the page, or nobody (the gate's best goes on)."
    ),
]
ThreadName = Annotated[
    str,
    typer.Argument(metavar="THREAD", help="A thread's id, or a beginning of it that no other thread has."),
]


def epilog(*examples: str) -> str:
    """Examples as typer prints them: each a paragraph of its own."""
    return "\n\n".join(["Examples:", *examples])


def version(wanted: bool) -> None:
    if wanted:
        print(f"inner {importlib.metadata.version('inner-dialogue')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What `inner` alone does: what `inner run` does."""
    if context.invoked_subcommand is None:
        run()


@app.command(
    epilog=epilog(
        "inner run",
        "inner run --port 9000 --no-browser",
        "inner run --model ~/models/qwen3-4b-q4_k_m.gguf --budget 0.05",
    )
)
def run(
    port: Port = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    model: Model = None,
    threads: Threads = None,
    budget: Budget = None,
    seed: Seed = None,
    debug: Debug = False,
) -> None:
    """Start everything and open the page. Ctrl-C stops it; a second Ctrl-C kills it."""
    from orchestrator import sittings

    settings = load_settings(
        port=port,
        browser=False if no_browser else None,
        model=model,
        threads=threads,
        budget=budget,
        seed=seed,
        debug=debug or None,
    )
    sys.exit(asyncio.run(sittings.run(settings, command=said())))


@app.command(
    epilog=epilog(
        'inner think "I keep postponing the call to my father."',
        "inner think --mode steps --arbiter auto --json < problem.txt",
        'inner think "A name for the boat" --mode brainstorm --steps 12',
        "Ends with 0: at the end, and after Ctrl-C too (the thread is kept). 130 after a second Ctrl-C. "
        "With --json an `end` event is always the last line.",
    )
)
def think(
    opening: Annotated[
        str | None,
        typer.Argument(metavar="OPENING", help="The first thought; '-' or nothing reads it from stdin."),
    ] = None,
    mode: Annotated[str, typer.Option(help="journal, brainstorm, steps, or one of your own.")] = "journal",
    steps: Steps = None,
    arbiter: ArbiterOption = "terminal",
    title: Annotated[
        str | None, typer.Option(help="Title of the thread; else the opening's first words.")
    ] = None,
    as_json: Json = False,
    port: Port = None,
    model: Model = None,
    threads: Threads = None,
    budget: Budget = None,
    seed: Seed = None,
    debug: Debug = False,
) -> None:
    """Begin a dialogue in this terminal. At a fork: 1–9 choose, e 2 edit, x none of these, z undo, or your words."""
    from orchestrator import sittings
    from orchestrator.session import Plan

    settings = load_settings(
        port=port, model=model, threads=threads, budget=budget, seed=seed, debug=debug or None
    )
    plan = Plan(arbiter, steps)
    modes = modes_of(settings)
    text, from_stdin = read_opening(opening)
    begun = sittings.Opening(modes, mode, text, plan, title)
    answers = sittings.answers_from(from_stdin, sittings.own_terminal)
    manner = sittings.Manner(as_json, answers)
    sys.exit(asyncio.run(sittings.sit(settings, begun, plan, manner, command=said())))


@app.command(
    epilog=epilog(
        "inner resume 0199c0de-1234",
        "inner resume 0199c0de --arbiter auto --steps 8 --json",
        "Ids are in `inner threads`. An open fork is open still, with the same options.",
    )
)
def resume(
    thread: ThreadName,
    steps: Steps = None,
    arbiter: ArbiterOption = "terminal",
    as_json: Json = False,
    port: Port = None,
    model: Model = None,
    threads: Threads = None,
    budget: Budget = None,
    seed: Seed = None,
    debug: Debug = False,
) -> None:
    """Go on with an earlier thread, exactly where it was."""
    from orchestrator import sittings
    from orchestrator.session import Plan

    settings = load_settings(
        port=port, model=model, threads=threads, budget=budget, seed=seed, debug=debug or None
    )
    plan = Plan(arbiter, steps)
    back = sittings.Return(settings, modes_of(settings), thread, plan)
    manner = sittings.Manner(as_json, sittings.answers_from(False, sittings.own_terminal))
    sys.exit(asyncio.run(sittings.sit(settings, back, plan, manner, command=said())))


@app.command("threads", epilog=epilog("inner threads", "inner threads --json | head -1"))
def list_threads(
    as_json: Json = False,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones instead.")] = False,
) -> None:
    """List the threads, newest activity first. A filled dot: a fork is open."""
    from rich.console import Console

    from orchestrator import paint
    from orchestrator.store import Store

    settings = load_settings()
    rows = []
    if settings.store_path.exists():
        with Store.open(settings.store_path, create=False) as store:
            rows = store.threads(archived=archived)
    if as_json:
        for row in rows:
            print(row.model_dump_json())
        return
    console = Console(highlight=False)
    if rows:
        console.print(paint.threads(rows, console.width))
    else:
        console.print("No archived threads." if archived else 'No threads yet. Begin one: inner think "…"')


@app.command(
    epilog=epilog(
        "inner show 0199c0de", "inner show 0199c0de --tree", "inner show 0199c0de --json | jq .path"
    )
)
def show(
    thread: ThreadName,
    as_json: Json = False,
    tree: Annotated[bool, typer.Option("--tree", help="Every branch, not only the path to the tip.")] = False,
) -> None:
    """Show a thread: its path of thoughts, or with --tree every branch."""
    from rich.console import Console

    from orchestrator import showing

    settings = load_settings()
    with open_store(settings, thread) as store:
        found = store.thread(thread)
        if as_json:
            print(json.dumps(showing.as_json(store, found), ensure_ascii=False))
            return
        console = Console(highlight=False)
        mode = modes_of(settings).get(found.mode)
        console.print(showing.as_text(store, found, mode, console.width, tree=tree))


@app.command(
    epilog=epilog(
        "inner export 0199c0de --format md --out ~/vault",
        "inner export 0199c0de --format jsonl > thread.jsonl",
        "Markdown uses Obsidian's callouts. JSONL holds every fact of the thread.",
    )
)
def export(
    thread: ThreadName,
    format_name: Annotated[str, typer.Option("--format", metavar="md|jsonl", help="md or jsonl.")] = "md",
    out: Annotated[
        Path | None, typer.Option(help="File, or directory (then the title names the file); else stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a thread as Markdown or JSONL. A file appears whole or not at all."""
    from orchestrator import export as exports

    render = exports.exporter(format_name)
    with open_store(load_settings(), thread) as store:
        found = store.thread(thread)
        text = render(store, found.id)
    if out is None:
        sys.stdout.write(text)
        return
    path = exports.target(out.expanduser(), found.title, format_name)
    exports.write_file(path, text, force=force)
    print(path)


@app.command(epilog=epilog("inner doctor", "inner doctor --json | jq '.checks[] | select(.ok == false)'"))
def doctor(as_json: Json = False) -> None:
    """Look at everything that is needed: each line says ok, or what to do. Ends with 1 if something is broken."""
    from rich.console import Console

    from orchestrator import doctor as doctors

    checks = doctors.examine(load_settings())
    if as_json:
        print(json.dumps(doctors.as_json(checks), ensure_ascii=False))
    else:
        Console(highlight=False).print(doctors.as_text(checks))
    sys.exit(0 if doctors.healthy(checks) else 1)


@voice_app.command(
    "run",
    epilog=epilog(
        "inner voice run skeptic.py",
        "inner voice run ~/prompts/journal/skeptic.md",
        "A Python file holds a subclass of voices.Voice; a Markdown file is a prompt file. "
        "`inner run` must be up in the same data directory.",
    ),
)
def voice_run(
    file: Annotated[Path, typer.Argument(help="A .py file with a Voice, or a Markdown prompt file.")],
    debug: Debug = False,
) -> None:
    """Let a voice of your own join the dialogue that is running, until Ctrl-C."""
    from orchestrator import own_voice

    settings = load_settings(debug=debug or None)
    own_voice.run(settings, file.expanduser())


# ---- what the commands share ----------------------------------------------------------------------------------


def said() -> str:
    """This command as it was given, for the lock file."""
    return shlex.join(["inner", *sys.argv[1:]])[:500]


def modes_of(settings: Settings) -> dict[str, ModeSpec]:
    """The modes, a person's own included. Raises PromptFileError."""
    return load_modes([settings.prompts_dir])


def open_store(settings: Settings, thread: str) -> Store:
    """The store a thread of that name must be in; one that is not there is not made.

    Raises UnknownThread, StoreError.
    """
    from orchestrator.errors import UnknownThread
    from orchestrator.store import Store

    if not settings.store_path.exists():
        raise UnknownThread(thread)
    return Store.open(settings.store_path, create=False)


def read_opening(given: str | None) -> tuple[str, bool]:
    """The opening thought, and whether it was read from stdin. Raises BadOpening where nobody could give one."""
    from orchestrator.errors import BadOpening

    if given is not None and given != "-":
        return given, False
    if sys.stdin is None or (given is None and sys.stdin.isatty()):
        raise BadOpening("There is no opening thought.", 'Give one: inner think "What is on my mind"')
    return sys.stdin.buffer.read(READ_LIMIT).decode("utf-8", "replace"), True


def report(error: InnerError | PromptFileError | UnknownVoice) -> int:
    """Say on stderr what happened and what to do; the exit code."""
    message = str(error) if isinstance(error, PromptFileError) else error.message
    print(f"error: {message}", file=sys.stderr)
    if error.hint and not isinstance(error, PromptFileError):
        print(error.hint, file=sys.stderr)
    return error.exit_code


def wants_traceback() -> bool:
    return "--debug" in sys.argv or os.environ.get("INNER_DEBUG", "").lower() in ("1", "true", "yes", "on")


def main(arguments: list[str] | None = None) -> Any:
    """The entry point `inner`."""
    try:
        app(args=arguments)
    except (InnerError, PromptFileError, UnknownVoice) as error:
        if wants_traceback():
            traceback.print_exc()
        sys.exit(report(error))
    except BrokenPipeError:  # `inner show … | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if wants_traceback():
            raise
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a mistake in Inner Dialogue. Run it again with --debug to see where.", file=sys.stderr)
        sys.exit(EXIT_INTERNAL)


if __name__ == "__main__":
    main()
