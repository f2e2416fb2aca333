import ArgumentParser
import Listings
import TokenData

struct DataCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Make training data.", subcommands: [Prepare.self])

    struct Prepare: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "prepare",
            abstract: "Turn texts into token files.",
            discussion: """
                Writes train.bin and val.bin (little-endian 16-bit tokens) and meta.json (the tokenizer). The texts are \
                taken one after another; the first tokens are for training, the last for validation. The model's \
                vocab_size must be at least the vocabulary that is printed.
                """)

        @Argument(help: "Text files.", completion: .file())
        var files: [String]

        @Option(
            help: ArgumentHelp("Directory for the token files; made when it is not there.", valueName: "directory"),
            completion: .directory)
        var output: String

        @Option(help: "A token for each byte, or for each character that occurs in the texts.")
        var tokenizer: Tokenizer.Kind

        @Option(help: ArgumentHelp("Part of the tokens that is kept for validation, below 1.", valueName: "fraction"))
        var validationFraction = 0.1

        @OptionGroup var outputOptions: ListingOptions

        func validate() throws {
            guard validationFraction >= 0, validationFraction < 1 else {
                throw ValidationError(TokenDataError.invalidFraction(validationFraction).description)
            }
        }

        func run() throws {
            let summary = try DataPreparation.prepare(
                files: files, output: output, tokenizer: tokenizer, validationFraction: validationFraction)
            try outputOptions.write(summary) {
                var table = Table([
                    ("TOKENIZER", .left), ("VOCABULARY", .right), ("TRAINING", .right), ("VALIDATION", .right),
                ])
                table.add([
                    summary.tokenizer.rawValue, "\(summary.vocabularySize)", "\(summary.trainingTokens)",
                    "\(summary.validationTokens)",
                ])
                return [table]
            }
        }
    }
}

extension Tokenizer.Kind: ExpressibleByArgument {}
