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
                Writes train.bin and val.bin (little-endian 16-bit tokens; 32-bit ones for vocabularies over 65,536) and \
                meta.json (the tokenizer), with bpe also tokenizer.json. The texts are taken one after another; the first \
                tokens are for training, the last for validation. The model's vocab_size must be at least the vocabulary \
                that is printed.
                """)

        @Argument(help: "Text files.", completion: .file())
        var files: [String]

        @Option(
            help: ArgumentHelp("Directory for the token files; made when it is not there.", valueName: "directory"),
            completion: .directory)
        var output: String

        @Option(
            help: ArgumentHelp(
                """
                bytes or characters: a token for each byte, or for each character that occurs in the texts; bpe: byte-level \
                BPE that is learned from the texts; or a tokenizer.json of Hugging Face's tokenizers, or a directory that \
                has one: what ends in .json or has a /.
                """, valueName: "bytes|characters|bpe|file"),
            completion: .file())
        var tokenizer: TokenizerChoice

        @Option(help: ArgumentHelp("With --tokenizer bpe: how many tokens to learn at most, from 256.", valueName: "n"))
        var vocabularySize: Int?

        @Option(
            help: ArgumentHelp("With --tokenizer bpe: how often a pair must occur to become a token.", valueName: "n"))
        var minimumFrequency: Int?

        @Flag(
            help: """
                Put the special tokens around each text that the tokenizer.json's post_processor names, such as a beginning \
                of text.
                """)
        var addSpecialTokens = false

        @Option(help: ArgumentHelp("Part of the tokens that is kept for validation, below 1.", valueName: "fraction"))
        var validationFraction = 0.1

        @OptionGroup var outputOptions: ListingOptions

        func validate() throws {
            guard validationFraction >= 0, validationFraction < 1 else {
                throw ValidationError(TokenDataError.invalidFraction(validationFraction).description)
            }
            _ = try source
        }

        private var source: TokenizerSource {
            get throws {
                if tokenizer != .kind(.bpe) {
                    guard vocabularySize == nil else {
                        throw ValidationError("--vocabulary-size is for --tokenizer bpe")
                    }
                    guard minimumFrequency == nil else {
                        throw ValidationError("--minimum-frequency is for --tokenizer bpe")
                    }
                }
                if case .file(let path) = tokenizer { return .file(path, addsSpecialTokens: addSpecialTokens) }
                guard !addSpecialTokens else {
                    throw ValidationError("--add-special-tokens is for a --tokenizer that is a tokenizer.json")
                }
                switch tokenizer {
                case .kind(.bytes): return .bytes
                case .kind(.characters): return .characters
                default:
                    guard let vocabularySize else {
                        throw ValidationError("--tokenizer bpe needs --vocabulary-size, the number of tokens to learn")
                    }
                    guard Tokenizer.vocabularySizes.contains(vocabularySize) else {
                        throw ValidationError(TokenDataError.invalidVocabularySize(vocabularySize).description)
                    }
                    let minimumFrequency = minimumFrequency ?? 1
                    guard minimumFrequency > 0 else {
                        throw ValidationError("--minimum-frequency must be at least 1, but is \(minimumFrequency)")
                    }
                    return .bpe(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency)
                }
            }
        }

        func run() throws {
            let summary = try DataPreparation.prepare(
                files: files, output: output, tokenizer: source, validationFraction: validationFraction)
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

/// What `--tokenizer` takes.
enum TokenizerChoice: ExpressibleByArgument, Equatable {
    case kind(Tokenizer.Kind)
    /// A `tokenizer.json`.
    case file(String)

    init?(argument: String) {
        if let kind = Tokenizer.Kind(rawValue: argument) {
            self = .kind(kind)
        } else if argument.hasSuffix(".json") {
            self = .file(argument)
        } else if argument.contains("/") {
            self = .file(argument + (argument.hasSuffix("/") ? "" : "/") + Tokenizer.tokenizerFileName)
        } else {
            return nil
        }
    }
}
