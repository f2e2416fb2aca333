import Listings
import Testing

@Suite struct TerminalTextTests {
    @Test(arguments: [
        ("plain, größer, 漢字, 👩‍👩‍👧", "plain, größer, 漢字, 👩‍👩‍👧"), ("a\u{1b}[31mb", "a·[31mb"), ("a\nb\tc", "a·b·c"),
        ("a\r\nb", "a·b"),
        ("a\u{7f}\u{9b}b", "a··b"), ("a\u{202e}b\u{2066}", "a·b·"),
    ])
    func commandsAreDots(text: String, shown: String) {
        #expect(TerminalText.shown(text) == shown)
    }

    @Test func linesStay() {
        #expect(TerminalText.lines("a\u{1b}b\nc\r\n") == "a·b\nc·")
        #expect(TerminalText.lines("a\nb\n") == "a\nb\n")
    }

    /// A name that comes from a file is in one row, in a column as wide as what is shown.
    @Test func tablesStayTables() {
        var table = Table([("RUN", .left), ("STEP", .right)])
        table.add(["evil\u{1b}[31m\nname", "3"])
        table.add(["\u{7}", "12"])
        #expect(table.text == "RUN              STEP\nevil·[31m·name      3\n·                  12\n")
        let details = Table.details([("Run", "a\nb")])
        #expect(details.text == "Run:   a·b\n")
    }
}
