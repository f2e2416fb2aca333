import Foundation
import TestSupport
import Testing
import TokenData

@Suite struct BytePairTrainerTests {
    private struct File: Decodable {
        struct Model: Decodable {
            let vocab: [String: Int]
            let merges: [[String]]
        }

        let model: Model
    }

    /// - Returns: the `tokenizer.json` that is made of `text`.
    private func train(
        _ text: String, vocabularySize: Int, minimumFrequency: Int = 1, in directory: TemporaryDirectory
    ) throws -> String {
        let file = try directory.write(text.utf8, to: "text")
        _ = try DataPreparation.prepare(
            files: [file], output: directory.path("out"),
            tokenizer: .bpe(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency), validationFraction: 0)
        return directory.path("out/tokenizer.json")
    }

    /// Tokens, merges and their order, and what the text becomes.
    @Test(arguments: 0..<5) func theVocabularyIsThePackages(index: Int) throws {
        let golden = try GoldenTokenizers.load().training
        #expect(golden.count == 5)
        let expected = golden[index]
        let directory = try TemporaryDirectory()
        let text = try GoldenTokenizers.sample()
        let path = try train(
            text, vocabularySize: expected.vocabularySize, minimumFrequency: expected.minimumFrequency, in: directory)
        let model = try JSONDecoder().decode(File.self, from: Data(contentsOf: URL(fileURLWithPath: path))).model
        #expect(model.vocab.count == expected.tokens)
        let tokens = model.vocab.sorted { $0.value < $1.value }.map(\.key)
        #expect(GoldenTokenizers.checksum(tokens.joined(separator: "\n").utf8) == expected.vocabularyChecksum)
        #expect(model.merges.count == expected.merges)
        let merges = model.merges.map { $0.joined(separator: " ") }.joined(separator: "\n")
        #expect(GoldenTokenizers.checksum(merges.utf8) == expected.mergesChecksum)
        let tokenizer = try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
        #expect(GoldenTokenizers.summary(try tokenizer.encode(text)) == expected.ids)
    }

    /// The package reads the file, and encodes with it as we do.
    @Test(.enabled(if: LiveTokenizers.isThere, "no .venv: deploy/python.sh makes it"))
    func thePackageReadsTheFile() throws {
        let directory = try TemporaryDirectory()
        var generator = SplitMix64(state: TestRuns.seed())
        let texts = (0..<100).map { _ in LiveTokenizers.text(&generator) }
        let path = try train(texts.joined(separator: "\n"), vocabularySize: 500, in: directory)
        let tokenizer = try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
        let theirs = try LiveTokenizers.encode(texts, tokenizer: path)
        for (text, ids) in zip(texts, theirs) { #expect(try tokenizer.encode(text) == ids, "\(text.debugDescription)") }
    }

    /// A word of a million letters is one of a few dozen merges, not of a million.
    @Test func longRunsOfOneLetterTakeNoTime() throws {
        let directory = try TemporaryDirectory()
        let text = String(repeating: "a", count: 1 << 20)
        let start = ContinuousClock.now
        let path = try train(text, vocabularySize: 400, in: directory)
        let tokenizer = try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
        let ids = try tokenizer.encode(text + "b")
        #expect(tokenizer.decode(ids) == text + "b")
        #expect(ids.count == 2)
        // Steps by the square of the length would take hours.
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    @Test func textsWithoutPairsHaveOnlyBytes() throws {
        let directory = try TemporaryDirectory()
        let path = try train("a b", vocabularySize: 300, minimumFrequency: 2, in: directory)
        #expect(try Tokenizer(tokenizerFile: path, addsSpecialTokens: false).vocabularySize == 256)
    }
}
