"""Lines of several processes in one terminal."""

from __future__ import annotations

import io

from cli.terminal import LONGEST_LINE, Lines, Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class TestLines:
    def test_a_line_is_whole_before_it_is_shown(self) -> None:
        lines = Lines()
        assert lines.feed(b"one\ntw") == ["one"]
        assert lines.feed(b"o\nthree") == ["two"]
        assert lines.flush() == ["three"]
        assert lines.flush() == []

    def test_a_character_may_come_in_two_parts(self) -> None:
        lines = Lines()
        first, second = "é\n".encode()[:1], "é\n".encode()[1:]
        assert lines.feed(first) + lines.feed(second) == ["é"]

    def test_of_a_redrawn_line_the_last_drawing_counts(self) -> None:
        assert Lines().feed(b"10 %\r50 %\r100 %\r\n") == ["100 %"]

    def test_a_line_that_never_ends_is_broken(self) -> None:
        assert Lines().feed(b"x" * (LONGEST_LINE + 1)) == ["x" * (LONGEST_LINE + 1)]


class TestTerminal:
    def test_names_are_aligned(self) -> None:
        stream = io.StringIO()
        terminal = Terminal(stream, ["api", "worker"])
        terminal.line("api", "hello")
        terminal.line("worker", "hi")
        assert stream.getvalue() == "api    | hello\nworker | hi\n"

    def test_colors_are_for_terminals_only(self) -> None:
        plain, screen = io.StringIO(), Screen()
        Terminal(plain, ["api"]).line("api", "\x1b[31mred\x1b[0m")
        Terminal(screen, ["api"]).line("api", "\x1b[31mred\x1b[0m")
        assert plain.getvalue() == "api | red\n"
        assert "\x1b[31mred" in screen.getvalue()
        assert screen.getvalue().endswith("\x1b[0m\n")

    def test_what_a_child_prints_cannot_steer_the_terminal(self) -> None:
        screen = Screen()
        Terminal(screen, []).line("api", "a\x1b]0;title\x07b\x1b[2Jc\x9bd\te")
        shown = screen.getvalue().replace("\x1b[0m", "").partition("| ")[2]
        assert shown == "a]0;titleb[2Jcd\te\n"

    def test_a_reader_that_left_is_noticed(self) -> None:
        terminal = Terminal(Closed(), ["api"])
        terminal.line("api", "hello")
        terminal.line("api", "again")
        assert terminal.closed
