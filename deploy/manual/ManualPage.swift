import Foundation
import Settings

/// A manual page in mdoc(7), one for a program with all its subcommands.
struct ManualPage {
    let text: String

    init(_ command: ToolInfo.Command, date: Date, sections: String) {
        var lines = [
            ".Dd \(date.formatted(Self.dateStyle))", ".Dt \(command.commandName.uppercased()) 1", ".Os", ".Sh NAME",
            ".Nm \(command.commandName)", ".Nd \(Self.summary(command))", ".Sh SYNOPSIS",
        ]
        let leaves = Self.leaves(of: command)
        for (index, leaf) in leaves.enumerated() {
            if index > 0 { lines.append(".Pp") }
            lines += [".Nm"] + leaf.path.map { ".Cm \($0)" } + leaf.command.displayed.map(Self.synopsis)
        }
        lines += [".Sh DESCRIPTION"] + Self.paragraphs(command.discussion ?? command.abstract ?? "")
        lines.append(".Sh COMMANDS")
        for leaf in leaves {
            let name = ([command.commandName] + leaf.path).joined(separator: " ")
            lines.append(".Ss \(name)\(leaf.isDefault ? " (the command when none is named)" : "")")
            if !leaf.path.isEmpty {
                lines += Self.paragraphs(
                    [leaf.command.abstract, leaf.command.discussion].compactMap(\.self).joined(separator: "\n\n"))
            }
            lines += [".Bl -tag -width Ds"] + leaf.command.displayed.flatMap(Self.item) + [".El"]
        }
        text = lines.joined(separator: "\n") + "\n" + sections.trimmingCharacters(in: .newlines)
    }

    private typealias Leaf = (path: [String], command: ToolInfo.Command, isDefault: Bool)

    /// The commands that do something, which are those without subcommands.
    private static func leaves(of command: ToolInfo.Command, path: [String] = [], isDefault: Bool = false) -> [Leaf] {
        let subcommands = (command.subcommands ?? []).filter { $0.commandName != "help" && $0.shouldDisplay != false }
        if subcommands.isEmpty { return [(path, command, isDefault)] }
        return subcommands.flatMap {
            leaves(of: $0, path: path + [$0.commandName], isDefault: command.defaultSubcommand == $0.commandName)
        }
    }

    private static func synopsis(_ argument: ToolInfo.Argument) -> String {
        let value = argument.valueName.map { "Ar \($0)" } ?? ""
        let name = argument.preferredName.map { "Fl \($0)" } ?? ""
        let words: String =
            switch argument.kind {
            case "positional": value
            case "flag": name
            default: "\(name) \(value)"
            }
        return (argument.isOptional ? ".Op " : ".") + words + (argument.isRepeating ? " ..." : "")
    }

    private static func item(_ argument: ToolInfo.Argument) -> [String] {
        let value = argument.kind == "flag" ? "" : " Ar \(argument.valueName ?? "value")"
        let names = (argument.names ?? []).map { "Fl \($0.flag)" }.joined(separator: " , ")
        let head = argument.kind == "positional" ? ".It Ar \(argument.valueName ?? "value")" : ".It \(names)\(value)"
        var words = [argument.abstract, argument.discussion].compactMap(\.self).joined(separator: "\n\n")
        if let values = argument.allValues, !values.isEmpty, !words.contains(values[0]) {
            words += " Values: \(values.joined(separator: ", "))."
        }
        if let standard = argument.defaultValue, !standard.isEmpty { words += " Default: \(standard)." }
        return [head] + paragraphs(words)
    }

    /// Lines of text, a sentence on each, with `.Pp` between paragraphs.
    private static func paragraphs(_ text: String) -> [String] {
        let sentences = text.replacing(#/([.?:]) (?=\p{Lu}|--)/#) { $0.1 + "\n" }
        let lines = sentences.split(separator: "\n", omittingEmptySubsequences: false).map { plain(String($0)) }
        return lines.map { $0.isEmpty ? ".Pp" : $0 }
    }

    /// In one line, as lists of manual pages have it.
    private static func summary(_ command: ToolInfo.Command) -> String {
        let text = plain(command.abstract ?? "")
        return text.prefix(1).lowercased() + text.dropFirst().prefix { $0 != "." }
    }

    /// Text in which nothing is a request or an escape sequence.
    private static func plain(_ text: String) -> String {
        let escaped = text.trimmingCharacters(in: .whitespaces).replacing("\\", with: "\\e").replacing("-", with: "\\-")
        return escaped.hasPrefix(".") || escaped.hasPrefix("'") ? "\\&" + escaped : escaped
    }

    private static let dateStyle = Date.VerbatimFormatStyle(
        format: "\(month: .wide) \(day: .defaultDigits), \(year: .defaultDigits)", locale: Locale(identifier: "en_US"),
        timeZone: .gmt, calendar: Calendar(identifier: .gregorian))
}

extension ToolInfo.Command {
    fileprivate var displayed: [ToolInfo.Argument] { (arguments ?? []).filter(\.shouldDisplay) }
}

extension ToolInfo.Argument {
    fileprivate var preferredName: String? { (names?.first { $0.kind == "long" } ?? names?.first)?.flag }
}

extension ToolInfo.Argument.Name {
    /// Behind the dash that mdoc's `Fl` writes.
    fileprivate var flag: String { kind == "long" ? "-" + name : name }
}
