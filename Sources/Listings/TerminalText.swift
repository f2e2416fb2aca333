/// Text that comes from files and from other programs, for terminals.
package enum TerminalText {
    /// Stands for what is not shown.
    package static let placeholder: Character = "·"

    /// What terminals would take for a command, or for the end of a line, as dots.
    package static func shown(_ text: String) -> String {
        text.contains(where: isCommand) ? String(text.map { isCommand($0) ? placeholder : $0 }) : text
    }

    /// The same, line by line.
    package static func lines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { shown(String($0)) }.joined(separator: "\n")
    }

    /// Control characters, and those that turn the direction of others around.
    package static func isCommand(_ character: Character) -> Bool {
        switch character.unicodeScalars.first?.value ?? 0 {
        case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
