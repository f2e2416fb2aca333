import Foundation
import TestSupport
import Testing
import TokenData

@Suite struct DataPreparationTests {
    /// Random text, prepared, read and decoded is the text again; the first part is for training.
    @Test(arguments: [TokenizerSource.bytes, .characters, .bpe(vocabularySize: 300)])
    func textsRoundTrip(source: TokenizerSource) throws {
        let seed = TestRuns.seed()
        var generator = SplitMix64(state: seed)
        let alphabet = Array("ab \n\u{E9}\u{301}“🧠\0z".unicodeScalars)
        for _ in 0..<20 {
            let directory = try TemporaryDirectory()
            var texts = [String]()
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                var text = String.UnicodeScalarView()
                // Of three or more tokens, the largest fraction below leaves one to train on.
                let least = if case .bpe = source { 60 } else { 3 }
                for _ in 0..<Int.random(in: least...300, using: &generator) {
                    text.append(alphabet.randomElement(using: &generator)!)
                }
                texts.append(String(text))
            }
            let files = try texts.enumerated().map { try directory.write($1.utf8, to: "text-\($0)") }
            let fraction = Double.random(in: 0...0.6, using: &generator)
            let output = directory.path("made/here")
            let summary = try DataPreparation.prepare(
                files: files, output: output, tokenizer: source, validationFraction: fraction)

            let tokenizer = try Tokenizer(metadataFile: output + "/meta.json")
            #expect(tokenizer.kind == summary.tokenizer)
            #expect(tokenizer.vocabularySize == summary.vocabularySize)
            let training = try TokenFile(path: output + "/train.bin", vocabularySize: tokenizer.vocabularySize)
            let validation =
                summary.validationTokens > 0
                ? try TokenFile(path: output + "/val.bin", vocabularySize: tokenizer.vocabularySize).tokens : []
            let whole = texts.joined()
            let decoded = tokenizer.decode((training.tokens + validation).map(Int32.init))
            #expect(Array(decoded.unicodeScalars) == Array(whole.unicodeScalars))
            let count =
                switch source {
                case .bytes: whole.utf8.count
                case .characters: whole.unicodeScalars.count
                default: try texts.reduce(0) { try $0 + tokenizer.encode($1).count }
                }
            #expect(training.count == Int(Double(count) * (1 - fraction)))
            #expect(summary.trainingTokens == training.count)
            #expect(summary.validationTokens == validation.count)
        }
    }

    /// Characters that lie across the pieces in which files are read.
    @Test func charactersMayStraddlePieces() throws {
        let directory = try TemporaryDirectory()
        for offset in 1...3 {
            let text = String(repeating: "a", count: (1 << 20) - offset) + "🧠b"
            let file = try directory.write(text.utf8, to: "text")
            let summary = try DataPreparation.prepare(
                files: [file], output: directory.path("out"), tokenizer: .characters, validationFraction: 0)
            #expect(summary.vocabularySize == 3)
            let tokens = try TokenFile(path: directory.path("out/train.bin"), vocabularySize: 3).tokens
            #expect(tokens.suffix(3) == [0, 2, 1])
        }
    }

    /// Texts are cut while they are read; the tokens are those of the whole.
    @Test(arguments: ["gpt2", "llama3", "qwen2", "neox", "deepseek", "o200k"])
    func longTextsAreEncodedInParts(variant: String) throws {
        let directory = try TemporaryDirectory()
        let tokenizerFile = try directory.write(GoldenTokenizers.file(variant), to: "tokenizer.json")
        let tokenizer = try Tokenizer(tokenizerFile: tokenizerFile, addsSpecialTokens: false)
        var text = try GoldenTokenizers.sample()
        // More than is read before a cut.
        while text.utf8.count < 4 << 20 { text += text }
        let file = try directory.write(text.utf8, to: "text")
        let output = directory.path("out")
        _ = try DataPreparation.prepare(
            files: [file], output: output, tokenizer: .file(tokenizerFile), validationFraction: 0)
        let made = try TokenFile(path: output + "/train.bin", vocabularySize: tokenizer.vocabularySize).tokens
        #expect(made == (try tokenizer.encode(text)).map(UInt32.init))
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: output + "/tokenizer.json"))
                == Data(contentsOf: URL(fileURLWithPath: tokenizerFile)))
    }

    @Test func specialTokensSurroundEachText() throws {
        let directory = try TemporaryDirectory()
        let tokenizerFile = try directory.write(GoldenTokenizers.file("llama3"), to: "tokenizer.json")
        let files = try ["Hello", "world"].enumerated().map { try directory.write($1.utf8, to: "text-\($0)") }
        let output = directory.path("out")
        _ = try DataPreparation.prepare(
            files: files, output: output, tokenizer: .file(tokenizerFile, addsSpecialTokens: true),
            validationFraction: 0)
        let tokenizer = try Tokenizer(metadataFile: output + "/meta.json")
        let tokens = try TokenFile(path: output + "/train.bin", vocabularySize: tokenizer.vocabularySize).tokens
        #expect(tokens.map(Int32.init) == (try tokenizer.encode("Hello") + tokenizer.encode("world")))
        #expect(tokens[0] == 1000)
        #expect(
            try Tokenizer.of(directory: output)?.encode("Hello") == GoldenTokenizers.load().variants["llama3"]?.special)
        // Without its meta.json the directory is a model's.
        try FileManager.default.removeItem(atPath: output + "/meta.json")
        #expect(try Tokenizer.of(directory: output)?.encode("Hello").first == 1000)
        try FileManager.default.removeItem(atPath: output + "/tokenizer.json")
        #expect(try Tokenizer.of(directory: output) == nil)
    }

    /// As those of Qwen and Llama 3.
    @Test func largeVocabulariesTakeFourBytesAToken() throws {
        let directory = try TemporaryDirectory()
        var root = try #require(
            JSONSerialization.jsonObject(with: GoldenTokenizers.file("gpt2")) as? [String: Any])
        var model = try #require(root["model"] as? [String: Any])
        var vocabulary = try #require(model["vocab"] as? [String: Int])
        for id in vocabulary.count..<70_000 { vocabulary["unused\(id)"] = id }
        model["vocab"] = vocabulary
        root["model"] = model
        root["added_tokens"] = [["id": 70_000, "content": "<|end|>", "normalized": false]]
        let tokenizerFile = try directory.write(JSONSerialization.data(withJSONObject: root), to: "tokenizer.json")
        let file = try directory.write("one<|end|>two".utf8, to: "text")
        let output = directory.path("out")
        _ = try DataPreparation.prepare(
            files: [file], output: output, tokenizer: .file(tokenizerFile), validationFraction: 0)
        let tokenizer = try Tokenizer(metadataFile: output + "/meta.json")
        #expect(tokenizer.tokenBytes == 4)
        let tokens = try TokenFile(path: output + "/train.bin", vocabularySize: 70_001, tokenBytes: 4).tokens
        #expect(tokens.contains(70_000))
        #expect(tokenizer.decode(tokens.map(Int32.init)) == "one<|end|>two")
        #expect(
            try String(contentsOfFile: output + "/meta.json", encoding: .utf8) == """
                {
                  "format" : 1,
                  "token_bytes" : 4,
                  "tokenizer" : "bpe",
                  "vocabulary_size" : 70001
                }

                """)
    }

    /// As nanoGPT's data/shakespeare_char/prepare.py splits 1,115,394 characters.
    @Test func theSplitIsNanoGPTs() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write(repeatElement(UInt8(ascii: "x"), count: 1_115_394), to: "text")
        let summary = try DataPreparation.prepare(
            files: [file], output: directory.path, tokenizer: .bytes, validationFraction: 0.1)
        #expect(summary.trainingTokens == 1_003_854)
        #expect(summary.validationTokens == 111_540)
    }

    @Test func metadataIsAsDocumented() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("b\na".utf8, to: "text")
        _ = try DataPreparation.prepare(
            files: [file], output: directory.path, tokenizer: .characters, validationFraction: 0)
        let json = try String(contentsOfFile: directory.path("meta.json"), encoding: .utf8)
        #expect(
            json == """
                {
                  "characters" : "\\nab",
                  "format" : 1,
                  "tokenizer" : "characters",
                  "vocabulary_size" : 3
                }

                """)
        #expect(try directory.names == ["meta.json", "text", "train.bin"])
    }

    /// An old validation split does not stay beside new training data.
    @Test func anEmptySplitRemovesTheOldOne() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("abcdefghij".utf8, to: "text")
        for (fraction, hasValidation) in [(0.5, true), (0.0, false)] {
            _ = try DataPreparation.prepare(
                files: [file], output: directory.path, tokenizer: .bytes, validationFraction: fraction)
            #expect(try directory.names.contains("val.bin") == hasValidation)
        }
    }

    @Test func failuresLeaveEverythingAsItWas() throws {
        let directory = try TemporaryDirectory()
        let good = try directory.write("abcdefghij".utf8, to: "good")
        let bad = try directory.write([0x61, 0xFF], to: "bad")
        _ = try DataPreparation.prepare(files: [good], output: directory.path, tokenizer: .bytes, validationFraction: 0)
        #expect(throws: TokenDataError.invalidText(file: bad, position: 1)) {
            try DataPreparation.prepare(
                files: [good, bad], output: directory.path, tokenizer: .characters, validationFraction: 0)
        }
        #expect(try Tokenizer(metadataFile: directory.path("meta.json")).kind == .bytes)
        #expect(try directory.names == ["bad", "good", "meta.json", "train.bin"])
    }

    /// What is not a file, and so cannot be replaced by one.
    @Test(arguments: ["meta.json", "train.bin", "val.bin"], [0, 0.5])
    func whatCannotBeReplacedIsFoundFirst(name: String, fraction: Double) throws {
        let directory = try TemporaryDirectory()
        let text = try directory.write("abcdefghij".utf8, to: "text")
        let output = directory.path("data")
        _ = try DataPreparation.prepare(files: [text], output: output, tokenizer: .bytes, validationFraction: 0.5)
        try FileManager.default.removeItem(atPath: "\(output)/\(name)")
        try FileManager.default.createDirectory(atPath: "\(output)/\(name)", withIntermediateDirectories: false)
        let others = ["meta.json", "train.bin", "val.bin"].filter { $0 != name }
        func contents() throws -> [Data] {
            try others.map { try Data(contentsOf: URL(fileURLWithPath: "\(output)/\($0)")) }
        }
        let before = try contents()
        let error = TokenDataError.unwritable(file: "\(output)/\(name)", reason: "it is a directory; move it away")
        #expect(throws: error) {
            try DataPreparation.prepare(
                files: [text], output: output, tokenizer: .characters, validationFraction: fraction)
        }
        #expect(try contents() == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: output).count == 3)
    }

    /// Wherever it stops, there is the earlier data, the new, or no `train.bin`: never one beside another's `meta.json`.
    @Test func trainingTokensGoFirstAndComeLast() throws {
        let directory = try TemporaryDirectory()
        let text = try directory.write("abcdefghij".utf8, to: "text")
        let output = directory.path("data")
        _ = try DataPreparation.prepare(
            files: [text], output: output, tokenizer: .characters, validationFraction: 0.5)
        for (fraction, validation) in [(0.5, "comes"), (0, "goes")] {
            let changes = try NameChanges(in: output)
            _ = try DataPreparation.prepare(
                files: [text], output: output, tokenizer: .bytes, validationFraction: fraction)
            let expected = ["train.bin goes", "val.bin \(validation)", "meta.json comes", "train.bin comes"]
            #expect(changes.read().filter { !$0.hasPrefix(".") } == expected)
        }
    }

    /// A process that was killed has left its files, which may be longer than the new ones; others are of no use any more.
    @Test func leftoversAreWrittenOver() throws {
        let directory = try TemporaryDirectory()
        let text = try directory.write("abcdefghij".utf8, to: "text")
        for name in [".train.bin.partial", ".val.bin.partial", ".tokenizer.json.partial", ".meta.json.partial"] {
            _ = try directory.write([UInt8](repeating: 7, count: 1000), to: name)
        }
        _ = try DataPreparation.prepare(files: [text], output: directory.path, tokenizer: .bytes, validationFraction: 0)
        #expect(try directory.names == ["meta.json", "text", "train.bin"])
        #expect(try TokenFile(path: directory.path("train.bin"), vocabularySize: 256).count == 10)
        #expect(try Tokenizer(metadataFile: directory.path("meta.json")).kind == .bytes)
    }

    @Test func oneProcessPreparesAtATime() throws {
        let directory = try TemporaryDirectory()
        let text = try directory.write("abcdefghij".utf8, to: "text")
        let other = try FileHandle(
            forWritingTo: URL(fileURLWithPath: directory.write("other".utf8, to: ".train.bin.partial")))
        #expect(flock(other.fileDescriptor, LOCK_EX) == 0)
        let error = #expect(throws: TokenDataError.self) {
            try DataPreparation.prepare(
                files: [text], output: directory.path, tokenizer: .bytes, validationFraction: 0)
        }
        #expect(error?.description.contains("train.bin: another process is writing it") == true)
        #expect(try directory.names == [".train.bin.partial", "text"])
        #expect(try String(contentsOfFile: directory.path(".train.bin.partial"), encoding: .utf8) == "other")
    }

    /// A pipe gives its text once, and without a writer none: nothing waits for one.
    @Test(arguments: [TokenizerSource.bytes, .characters, .bpe(vocabularySize: 300)])
    func pipesAreRefused(source: TokenizerSource) throws {
        let directory = try TemporaryDirectory()
        let pipe = directory.path("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        let error = #expect(throws: TokenDataError.self) {
            try DataPreparation.prepare(
                files: [pipe], output: directory.path("data"), tokenizer: source, validationFraction: 0)
        }
        #expect(error?.description.hasPrefix("cannot read \(pipe): it is not a regular file") == true)
    }

    @Test(arguments: [[0xFF], [0xC3], [0x61, 0xE2, 0x80], [0xED, 0xA0, 0x80], [0xF8, 0x88]] as [[UInt8]])
    func whatIsNotUTF8IsRefused(bytes: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write(bytes, to: "text")
        #expect(throws: TokenDataError.invalidText(file: file, position: bytes[0] == 0x61 ? 1 : 0)) {
            try DataPreparation.prepare(
                files: [file], output: directory.path, tokenizer: .characters, validationFraction: 0)
        }
    }

    @Test func unusableInputIsNamed() throws {
        let directory = try TemporaryDirectory()
        let empty = try directory.write([], to: "empty")
        let one = try directory.write([0x61], to: "one")
        func prepare(_ files: [String], output: String? = nil, fraction: Double = 0.1) throws {
            _ = try DataPreparation.prepare(
                files: files, output: output ?? directory.path, tokenizer: .bytes, validationFraction: fraction)
        }
        #expect(throws: TokenDataError.emptyText(file: empty)) { try prepare([one, empty]) }
        #expect(throws: TokenDataError.noTrainingTokens(tokens: 1, validationFraction: 0.1)) { try prepare([one]) }
        #expect(throws: TokenDataError.noTrainingTokens(tokens: 0, validationFraction: 0.1)) { try prepare([]) }
        for fraction in [-0.1, 1, .nan, .infinity] {
            #expect(throws: TokenDataError.self) { try prepare([one], fraction: fraction) }
        }
        #expect(throws: TokenDataError.unreadable(file: "/nowhere", reason: "No such file or directory")) {
            try prepare(["/nowhere"])
        }
        #expect(throws: TokenDataError.self) { try prepare([directory.path]) }
        for size in [255, 1 << 21] {
            #expect(throws: TokenDataError.invalidVocabularySize(size)) {
                _ = try DataPreparation.prepare(
                    files: [one], output: directory.path, tokenizer: .bpe(vocabularySize: size), validationFraction: 0)
            }
        }
        let unwritable = #expect(throws: TokenDataError.self) { try prepare([one], output: one + "/x", fraction: 0) }
        guard case .unwritable = unwritable else {
            Issue.record("\(String(describing: unwritable))")
            return
        }
    }
}

/// Which names of a directory come and go, as the kernel tells them in order (inotify(7)).
private final class NameChanges {
    private let descriptor: Int32

    init(in directory: String) throws {
        descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        let mask = UInt32(IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE)
        try #require(descriptor >= 0 && inotify_add_watch(descriptor, directory, mask) >= 0)
    }

    deinit { close(descriptor) }

    /// What has happened so far.
    func read() -> [String] {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = Foundation.read(descriptor, &buffer, buffer.count)
        var changes = [String]()
        var position = 0
        // A watch, a mask, a cookie and the name's length, of 32 bits each; the name ends with zeros.
        while position < count {
            func field(_ index: Int) -> UInt32 {
                buffer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: position + 4 * index, as: UInt32.self) }
            }
            let length = Int(field(3))
            let name = buffer[position + 16..<position + 16 + length].prefix { $0 != 0 }
            let comes = field(1) & UInt32(IN_CREATE | IN_MOVED_TO) != 0
            changes.append(String(decoding: name, as: UTF8.self) + (comes ? " comes" : " goes"))
            position += 16 + length
        }
        return changes
    }
}

/// Seeded, so that a failure can be repeated.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
