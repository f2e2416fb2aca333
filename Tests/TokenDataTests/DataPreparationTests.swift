import Foundation
import TestSupport
import Testing
import TokenData

@Suite struct DataPreparationTests {
    /// Random text, prepared, read and decoded is the text again; the first part is for training.
    @Test(arguments: Tokenizer.Kind.allCases)
    func textsRoundTrip(kind: Tokenizer.Kind) throws {
        let seed = TestRuns.seed()
        var generator = SplitMix64(state: seed)
        let alphabet = Array("ab \n\u{E9}\u{301}“🧠\0z".unicodeScalars)
        for _ in 0..<20 {
            let directory = try TemporaryDirectory()
            var texts = [String]()
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                var text = String.UnicodeScalarView()
                // Of three or more, the largest fraction below leaves one to train on.
                for _ in 0..<Int.random(in: 3...300, using: &generator) {
                    text.append(alphabet.randomElement(using: &generator)!)
                }
                texts.append(String(text))
            }
            let files = try texts.enumerated().map { try directory.write($1.utf8, to: "text-\($0)") }
            let fraction = Double.random(in: 0...0.6, using: &generator)
            let output = directory.path("made/here")
            let summary = try DataPreparation.prepare(
                files: files, output: output, tokenizer: kind, validationFraction: fraction)

            let tokenizer = try Tokenizer(metadataFile: output + "/meta.json")
            #expect(tokenizer.kind == kind)
            #expect(tokenizer.vocabularySize == summary.vocabularySize)
            let training = try TokenFile(path: output + "/train.bin", vocabularySize: tokenizer.vocabularySize)
            let validation =
                summary.validationTokens > 0
                ? try TokenFile(path: output + "/val.bin", vocabularySize: tokenizer.vocabularySize).tokens : []
            let whole = texts.joined()
            let decoded = tokenizer.decode((training.tokens + validation).map(Int32.init))
            #expect(Array(decoded.unicodeScalars) == Array(whole.unicodeScalars))
            let count = kind == .bytes ? whole.utf8.count : whole.unicodeScalars.count
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
        let unwritable = #expect(throws: TokenDataError.self) { try prepare([one], output: one + "/x", fraction: 0) }
        guard case .unwritable = unwritable else {
            Issue.record("\(String(describing: unwritable))")
            return
        }
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
