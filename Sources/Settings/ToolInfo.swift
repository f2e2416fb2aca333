/// What swift-argument-parser's `--experimental-dump-help` tells of a program, as far as it is used.
package struct ToolInfo: Decodable {
    package struct Command: Decodable {
        package var commandName: String
        package var abstract: String?
        package var discussion: String?
        package var defaultSubcommand: String?
        package var subcommands: [Command]?
        package var arguments: [Argument]?
        package var shouldDisplay: Bool?
    }

    package struct Argument: Decodable {
        package struct Name: Decodable {
            /// `long`, `short` or `longWithSingleDash`.
            package var kind: String
            package var name: String
        }

        /// `positional`, `option` or `flag`.
        package var kind: String
        package var shouldDisplay: Bool
        package var isOptional: Bool
        package var isRepeating: Bool
        package var names: [Name]?
        package var valueName: String?
        package var defaultValue: String?
        package var allValues: [String]?
        package var abstract: String?
        package var discussion: String?
    }

    package var command: Command
}
