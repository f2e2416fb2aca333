import ArgumentParser
import Foundation

/// What swift-argument-parser tells of a command: which options it has, and which of them the arguments set.
struct CommandDescription {
    struct Option {
        /// The long name without dashes.
        let key: String
        /// Takes no value.
        let isFlag: Bool
        let isRepeating: Bool
        /// All spellings, with dashes.
        var spellings: [String]
        let abstract: String?
        /// The spelling that turns a flag off.
        var negation: String?
    }

    /// The option that names the configuration file.
    static let configurationKey = "config"

    /// Names of the subcommands at the start of the arguments.
    let path: [String]
    /// What follows them.
    let arguments: [String]
    /// The options that can be set elsewhere: those with a long name.
    let options: [Option]
    /// Keys of a configuration file that are none of them.
    let sections: [String]

    var keys: [String] { options.map(\.key) }

    init<Root: ParsableCommand>(of root: Root.Type, arguments: [String]) throws {
        var command: any ParsableCommand.Type = root
        var path = [String]()
        var rest = arguments[...]
        while let name = rest.first, let next = command.subcommand(named: name) {
            path.append(name)
            rest.removeFirst()
            command = next
        }
        while let next = command.configuration.defaultSubcommand { command = next }
        self.path = path
        sections = (command as? any SettingsSections.Type)?.sections ?? []
        self.arguments = Array(rest)
        let description = try JSONDecoder().decode(ToolInfo.self, from: Data(command._dumpHelp().utf8))
        var options = (description.command.arguments ?? []).compactMap(Option.init).filter {
            !["help", "version"].contains($0.key)
        }
        // `--[no-]name` is told as two flags, but is one to set.
        for index in options.indices where options[index].isFlag {
            if let no = options.firstIndex(where: { $0.isFlag && $0.key == "no-" + options[index].key }) {
                options[index].negation = "--" + options[no].key
                options[index].spellings += options[no].spellings
            }
        }
        let negations = options.compactMap(\.negation)
        let own = (command as? any OwnOptions.Type)?.ownOptions ?? []
        self.options = options.filter { !negations.contains("--" + $0.key) && !own.contains($0.key) }
    }

    /// Whether the arguments have `option`.
    func sets(_ option: Option) -> Bool {
        value(of: option) != nil
    }

    /// The argument that follows `option` or stands after its "=", as the last one has it; empty for a flag.
    private func value(of option: Option) -> String? {
        var value: String?
        for (index, argument) in arguments.enumerated() {
            if argument == "--" { break }
            for spelling in option.spellings {
                if argument == spelling {
                    value = index + 1 < arguments.count ? arguments[index + 1] : ""
                } else if argument.hasPrefix(spelling + "=") {
                    value = String(argument.dropFirst(spelling.count + 1))
                }
            }
        }
        return value
    }

    /// The configuration file to read, when the command has an option for one.
    func configurationFile(environment: [String: String]) -> String? {
        guard let option = options.first(where: { $0.key == Self.configurationKey }) else { return nil }
        // As with other variables, an empty one is none.
        return value(of: option) ?? environment["MOE_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
    }
}

extension ParsableCommand {
    fileprivate static func subcommand(named name: String) -> (any ParsableCommand.Type)? {
        configuration.subcommands.first { $0._commandName == name || $0.configuration.aliases.contains(name) }
    }
}

extension CommandDescription.Option {
    fileprivate init?(_ argument: ToolInfo.Argument) {
        let names = argument.names ?? []
        guard argument.kind != "positional", let long = names.first(where: { $0.kind == "long" }) else { return nil }
        self.init(
            key: long.name, isFlag: argument.kind == "flag", isRepeating: argument.isRepeating,
            spellings: names.map { ($0.kind == "long" ? "--" : "-") + $0.name }, abstract: argument.abstract)
    }
}
