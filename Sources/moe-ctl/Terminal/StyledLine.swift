import Listings

/// A line on a terminal, in parts that look different.
struct StyledLine: Sendable {
    enum Style: Sendable, Hashable {
        case plain, bold, faint, inverse
        /// Of xterm's 256.
        case color(UInt8)

        /// As a terminal is told (ECMA-48, Select Graphic Rendition).
        fileprivate var code: String {
            switch self {
            case .plain: "0"
            case .bold: "1"
            case .faint: "2"
            case .inverse: "7"
            case .color(let color): "38;5;\(color)"
            }
        }
    }

    private var parts = [(text: String, style: Style)]()

    init(_ text: String = "", _ style: Style = .plain) { add(text, style) }

    mutating func add(_ text: String, _ style: Style = .plain) {
        if !text.isEmpty { parts.append((text, style)) }
    }

    /// How many columns it takes, without blanks at its end.
    private var columns: Int {
        var (used, columns) = (0, 0)
        for character in parts.lazy.flatMap(\.text) {
            used += max(1, Self.columns(of: character))
            if character != " " { columns = used }
        }
        return columns
    }

    /// Parts side by side, those of most weight first. One that does not fit is on the next line; of the last line it is left out.
    static func lines(of parts: [StyledLine], columns: Int, atMost rows: Int) -> [StyledLine] {
        var lines = [StyledLine]()
        for part in parts {
            if let last = lines.last, last.columns + 2 + part.columns <= columns {
                lines[lines.count - 1].parts += [(text: "  ", style: .plain)] + part.parts
            } else if lines.count < rows {
                lines.append(part)
            }
        }
        return lines
    }

    /// As many columns as there are, with what terminals would take for a command left out. A line that has more ends in an ellipsis.
    /// - Parameters:
    ///   - isColored: whether parts look different.
    ///   - erasesRest: what was on the terminal's line before goes. Of a full line there is no rest: a terminal would erase the
    ///     last column, where its cursor stays.
    func text(columns: Int, isColored: Bool, erasesRest: Bool = false) -> String {
        let isCut = self.columns > columns
        let room = isCut ? columns - 1 : columns
        var (text, used) = ("", 0)
        for part in parts where used < columns {
            var shown = ""
            for character in part.text {
                let width = Self.columns(of: character)
                guard used + max(1, width) <= room else {
                    if isCut { shown += String(repeating: " ", count: room - used) + "…" }
                    used = columns
                    break
                }
                used += max(1, width)
                shown.append(width > 0 ? character : TerminalText.placeholder)
            }
            text += isColored && part.style != .plain ? "\u{1b}[\(part.style.code)m\(shown)\u{1b}[0m" : shown
        }
        return erasesRest && used < columns ? text + "\u{1b}[K" : text
    }

    /// How wide a terminal shows it: East Asian and pictures twice; 0 for what is a command.
    private static func columns(of character: Character) -> Int {
        guard let scalar = character.unicodeScalars.first, !TerminalText.isCommand(character) else { return 0 }
        switch scalar.value {
        case 0x1100..<0x1160, 0x2E80..<0xA4D0, 0xAC00..<0xD7A4, 0xF900..<0xFB00, 0xFE30..<0xFE70, 0xFF00..<0xFF61,
            0x1F300..<0x1FB00, 0x20000..<0x40000:
            return 2
        default: return 1
        }
    }
}
