import Files
import Foundation

/// What can be wrong with token files, their description or the texts that they are made of.
public enum TokenDataError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `file` cannot be read.
    case unreadable(file: String, reason: String)
    /// `file` cannot be written.
    case unwritable(file: String, reason: String)
    /// The token file `file` holds no token.
    case empty(file: String)
    /// The text `file` is empty.
    case emptyText(file: String)
    /// The tokenizer leaves out all of the text `file`.
    case removedText(file: String)
    /// Tokens take two or four bytes each, of which this number of bytes is no multiple.
    case oddSize(file: String, bytes: Int, tokenBytes: Int)
    /// `file` has fewer tokens than one sequence and its targets need.
    case tooShort(file: String, tokens: Int, needed: Int)
    /// `token` stands at index `position` of `file`, but the model knows only 0 ..< `vocabularySize`.
    case tokenOutsideVocabulary(file: String, position: Int, token: Int, vocabularySize: Int)
    /// `token` stands at index `position` of `file`, but the `meta.json` beside it tells of 0 ..< `vocabularySize`.
    case tokenOutsideMetadata(file: String, position: Int, token: Int, vocabularySize: Int)
    /// `meta.json` or the like does not say what it should.
    case invalidMetadata(file: String, reason: String)
    /// The text has a byte sequence at offset `position` that is not UTF-8.
    case invalidText(file: String, position: Int)
    /// A text to encode has a character that the tokenizer's corpus did not have.
    case unknownCharacter(Unicode.Scalar)
    /// To split a text by an expression of the `tokenizer.json` takes more steps than are made for each of its bytes.
    case tooManySteps(expression: String, stepsPerByte: Int)
    /// The corpus has more distinct characters than tokens of 16 bits can tell apart.
    case tooManyCharacters(limit: Int)
    /// The corpus is too short to be split.
    case noTrainingTokens(tokens: Int, validationFraction: Double)
    /// Not in 0 ..< 1.
    case invalidFraction(Double)
    /// Below the number of bytes, or more than are told apart.
    case invalidVocabularySize(Int)
    /// `file` is not what it was when it was counted.
    case changed(file: String)

    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "cannot read \(file): \(reason)"
        case .unwritable(let file, let reason): "cannot write \(file): \(reason)"
        case .empty(let file): "\(file) is empty; make token files with `moe-ctl data prepare`"
        case .emptyText(let file): "\(file) is empty; leave it out"
        case .removedText(let file):
            "\(file) gives no tokens: a pre_tokenizer with the behavior Removed takes all of it away; leave it out, or use "
                + "another tokenizer"
        case .oddSize(let file, let bytes, let tokenBytes):
            "\(file) has \(tokenBytes == 2 ? "an odd number of bytes" : "a number of bytes that four does not divide") "
                + "(\(bytes)), but tokens are little-endian and \(tokenBytes == 2 ? "two" : "four") bytes each; it may be "
                + "cut off or in another format: make it again with `moe-ctl data prepare`"
        case .tooShort(let file, let tokens, let needed):
            "\(file) has \(tokens) tokens, but a sequence and its targets need \(needed); use a shorter "
                + "--sequence-length or more data"
        case .tokenOutsideVocabulary(let file, let position, let token, let vocabularySize):
            "\(file): token \(token) at position \(position) is outside the model's vocabulary of \(vocabularySize); "
                + "set vocab_size in the model's config.json to at least \(token + 1), or prepare the data with the "
                + "model's tokenizer"
        case .tokenOutsideMetadata(let file, let position, let token, let vocabularySize):
            "\(file): token \(token) at position \(position) is outside the vocabulary of \(vocabularySize) that the meta.json "
                + "beside it tells of: they do not belong together; prepare the data again"
        case .invalidMetadata(let file, let reason): "\(file): \(reason)"
        case .invalidText(let file, let position):
            "\(file): the bytes at offset \(position) are not UTF-8; convert the text, or use --tokenizer bytes"
        case .unknownCharacter(let scalar):
            "the character \"\(scalar.escaped(asASCII: false))\" (U+\(scalar.hexadecimal)) does not occur in the text "
                + "that the tokenizer was made from"
        case .tooManySteps(let expression, let stepsPerByte):
            "to split the text by the tokenizer's expression \(expression) takes more than \(stepsPerByte) steps a byte, and "
                + "may never end; take out repetitions of what is repeated or cannot match, or use another tokenizer"
        case .tooManyCharacters(let limit):
            "the text has more than \(limit) different characters; use --tokenizer bytes"
        case .noTrainingTokens(let tokens, let fraction):
            "\(tokens) tokens with a validation fraction of \(fraction) leave nothing to train on; give more text or a "
                + "smaller --validation-fraction"
        case .invalidFraction(let fraction):
            "--validation-fraction must be at least 0 and below 1, but is \(fraction)"
        case .invalidVocabularySize(let size):
            "--vocabulary-size must be at least 256, the number of bytes, and at most \(Tokenizer.vocabularySizes.upperBound), "
                + "but is \(size)"
        case .changed(let file): "\(file) changed while it was read; prepare it again once it is complete"
        }
    }
}

extension TokenDataError {
    /// What `body` returns, or what keeps it from writing.
    static func writing<Value>(_ body: () throws(FileError) -> Value) throws(TokenDataError) -> Value {
        do throws(FileError) { return try body() } catch {
            switch error.code {
            case EISDIR: throw .unwritable(file: error.path, reason: "it is a directory; move it away")
            case EWOULDBLOCK: throw .unwritable(file: error.path, reason: "\(error.reason); \(error.remedy)")
            default: throw .unwritable(file: error.path, reason: error.reason)
            }
        }
    }
}

extension Unicode.Scalar {
    /// At least four hexadecimal digits, as in Unicode's U+ notation.
    fileprivate var hexadecimal: String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

/// What the system says is the cause of `error`.
func reason(of error: any Error) -> String {
    let error = error as NSError
    if let cause = error.userInfo[NSUnderlyingErrorKey] as? any Error { return reason(of: cause) }
    if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))) }
    return error.localizedDescription
}
