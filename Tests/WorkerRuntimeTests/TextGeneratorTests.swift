import Foundation
import MessagePassing
import Mixtral
import Synchronization
import Testing
import TokenData
import WorkerRuntime

@Suite struct TextGeneratorTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// A checkpoint that was trained a little, with a tokenizer.
    private func checkpoint() throws -> String {
        let meta = #"{"format": 1, "tokenizer": "characters", "vocabulary_size": 13, "characters": "\nabcdefghijkl"}"#
        try Data(meta.utf8).write(to: fixture.folder.appending(path: "meta.json"))
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 3) { $0.checkpointDirectory = directory }
        return directory + "/step-3"
    }

    /// A checkpoint with byte-level BPE, which the data beside it was prepared with.
    private func bytePairCheckpoint() throws -> String {
        let text = (0..<60).map { "naïve 🧠 \($0 * $0) \($0 % 2 == 0 ? "中文" : "été")\n" }.joined()
        try Data(text.utf8).write(to: fixture.folder.appending(path: "text"))
        _ = try DataPreparation.prepare(
            files: [fixture.path("text")], output: fixture.folder.path, tokenizer: .bpe(vocabularySize: 290),
            validationFraction: 0)
        try MixtralConfiguration(
            vocabularySize: 290, hiddenSize: 16, intermediateSize: 12, layers: 1, heads: 4, keyValueHeads: 2,
            experts: 4,
            expertsPerToken: 2, maximumPositions: 16, initializerRange: 0.2
        ).json().write(to: fixture.folder.appending(path: "config.json"))
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 1) { $0.checkpointDirectory = directory }
        return directory + "/step-1"
    }

    private func text(_ options: GenerationOptions, worldSize: Int) throws -> [String] {
        try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            let generator = try TextGenerator(
                options: options, communicator: communicator, nodes: communicator.nodes())
            var bytes = [UInt8]()
            try generator.run { bytes += $0 }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test func sameSeedGivesTheSameTextInAnyWorld() throws {
        let model = try checkpoint()
        // 40 tokens are more than the model's 16 positions.
        var options = GenerationOptions(
            model: model, prompt: "abc", length: 40, temperature: 0.7, topK: 5, seed: 9)
        let alone = try text(options, worldSize: 1)
        #expect(alone[0].hasPrefix("abc"))
        #expect(alone[0].count == 43)
        for worldSize in [2, 3] {
            let together = try text(options, worldSize: worldSize)
            #expect(together == alone + [String](repeating: "", count: worldSize - 1))
        }
        options.contextLength = 8
        let shortSighted = try text(options, worldSize: 1)
        #expect(shortSighted[0].prefix(9) == alone[0].prefix(9))
        #expect(shortSighted != alone)
        options.contextLength = nil
        options.seed = 10
        #expect(try text(options, worldSize: 1) != alone)
    }

    /// The token that ends a text is not written, and all ranks stop at it, be it the first or one of several.
    @Test func theModelEndsTheText() throws {
        let model = try checkpoint()
        let options = GenerationOptions(
            model: model, prompt: "abc", length: 40, temperature: 0.7, topK: 0, seed: 9)
        let whole = try Array(text(options, worldSize: 1)[0])
        let file = URL(fileURLWithPath: model + "/config.json")
        var fields = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let characters = Array("\nabcdefghijkl")
        for (place, worldSize) in [(3, 1), (9, 1), (9, 2), (20, 3)] {
            let token = try #require(characters.firstIndex(of: whole[place]))
            fields["eos_token_id"] = token
            if place != 9 { fields["eos_token_id"] = [token, token] }
            try JSONSerialization.data(withJSONObject: fields).write(to: file)
            let expected = whole.prefix(3) + whole.dropFirst(3).prefix { $0 != whole[place] }
            let found = try text(options, worldSize: worldSize)
            #expect(found == [String(expected)] + [String](repeating: "", count: worldSize - 1))
        }
    }

    @Test func withoutPromptItBeginsWithANewLine() throws {
        let options = GenerationOptions(
            model: try checkpoint(), prompt: "", length: 2, temperature: 0, topK: 0, seed: 0)
        #expect(try text(options, worldSize: 1)[0].hasPrefix("\n"))
    }

    /// As some tokenizers leave blanks out, so that no token stands for a line's end.
    @Test func withoutPromptOrNewLineItBeginsWithTheFirstToken() throws {
        let model = try bytePairCheckpoint()
        let file = URL(fileURLWithPath: model + "/tokenizer.json")
        var root = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let split: [String: Any] = [
            "type": "Split", "pattern": ["Regex": #"\s+"#], "behavior": "Removed", "invert": false,
        ]
        root["pre_tokenizer"] = [
            "type": "Sequence",
            "pretokenizers": [split, ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]],
        ]
        try JSONSerialization.data(withJSONObject: root).write(to: file)
        let tokenizer = try Tokenizer(tokenizerFile: file.path, addsSpecialTokens: false)
        #expect(try tokenizer.encode("\n").isEmpty)
        let options = GenerationOptions(model: model, prompt: " ", length: 2, temperature: 0, topK: 0, seed: 0)
        #expect(try text(options, worldSize: 1)[0].hasPrefix(tokenizer.decode([0])))
    }

    /// Data that is prepared with byte-level BPE, trained on, and continued: the tokenizer goes along.
    @Test func bytePairsMakeValidText() throws {
        let model = try bytePairCheckpoint()
        let copies = try ["meta.json", "tokenizer.json"].map { name in
            try Data(contentsOf: URL(fileURLWithPath: "\(model)/\(name)"))
                == Data(contentsOf: fixture.folder.appending(path: name))
        }
        #expect(copies == [true, true])
        // Random bytes, for the model has learned nothing.
        let options = GenerationOptions(model: model, prompt: "été 🧠", length: 60, temperature: 1, topK: 0, seed: 3)
        var pieces = [[UInt8]]()
        func generate() throws {
            pieces = try ThreadCommunicator.run(worldSize: 1) { communicator in
                let generator = try TextGenerator(
                    options: options, communicator: communicator, nodes: communicator.nodes())
                var pieces = [[UInt8]]()
                try generator.run { pieces.append($0) }
                return pieces
            }[0]
        }
        try generate()
        #expect(pieces.first == Array("été 🧠".utf8))
        for piece in pieces { #expect(String(validating: piece, as: UTF8.self) != nil) }
        let before = pieces
        try FileManager.default.removeItem(atPath: model + "/meta.json")
        try generate()
        #expect(pieces == before)
    }

    @Test func refusalsSayWhy() throws {
        let model = try checkpoint()
        func refusal(_ change: (inout GenerationOptions) -> Void) throws -> String {
            var options = GenerationOptions(model: model, prompt: "a", length: 1, temperature: 1, topK: 0, seed: 0)
            change(&options)
            do {
                return try text(options, worldSize: 1)[0]
            } catch let failure as JobFailure {
                return "\(failure)"
            }
        }
        #expect(try refusal { $0.prompt = "a!" }.contains("--prompt: the character \"!\""))
        #expect(try refusal { $0.temperature = -1 }.contains("--temperature"))
        #expect(try refusal { $0.contextLength = 0 }.contains("--context-length"))
        #expect(try refusal { $0.length = -1 }.contains("--length"))
        #expect(try refusal { $0.model = "/nonexistent" }.contains("/nonexistent"))
        try FileManager.default.removeItem(atPath: model + "/meta.json")
        #expect(try refusal { _ in }.contains("has no meta.json"))
    }
}
