import Foundation
import TestSupport
import Testing
import TokenData

/// Where a text may be cut, so that a file larger than memory can be encoded in parts.
@Suite struct TextCutTests {
    /// Of every kind that the expressions tell apart.
    private static let scalars: [Unicode.Scalar] = [
        " ", "\n", "\r", "\t", "\u{3000}", "a", "B", "s", "é", "'", "/", "_", "1", "カ", "・", "゠", "“", "中", "。",
        "\u{301}", "\u{200D}",
        "👍",
    ]

    /// The characters that stand for bytes: GPT-2's.
    private static let letters: [String] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            var letter = byte
            if !(0x21...0x7E).contains(byte) && !(0xA1...0xAC).contains(byte) && byte < 0xAE {
                letter = next
                next += 1
            }
            return Unicode.Scalar(letter).map { String(Character($0)) } ?? ""
        }
    }()

    /// A tokenizer that splits words as `variant` does, and merges any two neighbours in a word.
    private func tokenizer(_ variant: String, preTokenizer: [String: Any]? = nil) throws -> Tokenizer {
        var root = try #require(
            try JSONSerialization.jsonObject(with: GoldenTokenizers.file(variant)) as? [String: Any])
        var (tokens, merges) = (Self.letters, [[String]]())
        var known = Set(tokens)
        func merge(_ first: String, _ second: String) {
            guard known.insert(first + second).inserted else { return }
            tokens.append(first + second)
            merges.append([first, second])
        }
        let names = Self.scalars.map { scalar in
            let bytes = String(Character(scalar)).utf8.map { Self.letters[Int($0)] }
            return bytes.dropFirst().reduce(bytes[0]) { beginning, byte in
                merge(beginning, byte)
                return beginning + byte
            }
        }
        for first in names { for second in names { merge(first, second) } }
        var model = try #require(root["model"] as? [String: Any])
        model["vocab"] = Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, $0) })
        model["merges"] = merges
        root["model"] = model
        root["added_tokens"] = nil
        root["post_processor"] = nil
        if let preTokenizer { root["pre_tokenizer"] = preTokenizer }
        return try read(JSONSerialization.data(withJSONObject: root))
    }

    private func read(_ file: Data) throws -> Tokenizer {
        let directory = try TemporaryDirectory()
        return try Tokenizer(
            tokenizerFile: directory.write(file, to: "tokenizer.json"), addsSpecialTokens: false)
    }

    private func cut(_ text: String, _ tokenizer: Tokenizer) -> Int? {
        Array(text.utf8).withUnsafeBufferPointer { tokenizer.cut($0) }
    }

    /// Wherever a text is cut that has been read so far, its parts have the tokens of the whole.
    @Test(arguments: ["gpt2", "llama3", "qwen2", "digits", "deepseek", "o200k"])
    func partsHaveTheTokensOfTheWhole(variant: String) throws {
        let tokenizer = try tokenizer(variant)
        var generator = SeededGenerator(seed: TestRuns.seed("partsHaveTheTokensOfTheWhole(\(variant))"))
        var count = 0
        for _ in 0..<TestRuns.count(300, soak: 20_000) {
            var text = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 1...16, using: &generator) {
                if let scalar = Self.scalars.randomElement(using: &generator) { text.append(scalar) }
            }
            let bytes = Array(String(text).utf8)
            let whole = try tokenizer.encode(String(text))
            // Also within a character.
            let places = Set(
                (1...bytes.count).compactMap { bytes[..<$0].withUnsafeBufferPointer { tokenizer.cut($0) } })
            for place in places {
                let parts = [bytes[..<place], bytes[place...]].map { String(decoding: $0, as: UTF8.self) }
                let tokens = try parts.flatMap { try tokenizer.encode($0) }
                #expect(tokens == whole, "\(parts)")
            }
            count += places.count
        }
        #expect(count > 50)
    }

    /// A class of DeepSeek's expressions has Japanese letters together with a dot and a dash.
    @Test func katakanaIsNotCutAtItsDot() throws {
        let tokenizer = try tokenizer("deepseek")
        #expect(cut("カ・カ", tokenizer) == nil && cut("カ゠カ", tokenizer) == nil)
        #expect(cut("カ・カ。", tokenizer) == 9)
    }

    /// What adds a space in front of a text, has tokens that look beyond themselves, is not known, or leaves spaces within words.
    @Test func otherTokenizersTakeATextWhole() throws {
        for variant in ["gpt2-prefix", "neox", "numbers", "whole"] {
            #expect(try cut("word word", read(GoldenTokenizers.file(variant))) == nil, "\(variant)")
        }
        let digits: [String: Any] = ["type": "Digits", "individual_digits": true]
        let bytes: [String: Any] = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]
        let splitsNumbers = try tokenizer(
            "digits", preTokenizer: ["type": "Sequence", "pretokenizers": [digits, bytes]])
        #expect(cut("word word", splitsNumbers) == nil)
        #expect(try cut("word word", tokenizer("digits")) == 4)
    }
}
