import ArgumentParser
import ControlProtocol

struct KeyCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make keys, with which programs know each other.", subcommands: [Generate.self])

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "generate",
            abstract: "Make a new key.",
            discussion: """
                Writes 32 random bytes to a file that only its owner may read (mode 0600); a file that is there already is left \
                alone. moe-coordinator serve, moe-worker and moe-ctl take it with --key-file; copy it only over channels that \
                you trust.
                """)

        @Argument(help: "The file to make.", completion: .file())
        var file: String

        func run() throws {
            try ControlKey.generate(file: file)
            StandardError.write("Wrote a new key to \(file).")
        }
    }
}
