import Foundation
import TestSupport
import Testing
import TokenData

/// A `tokenizer.json` is of use, or is refused with what is wrong and what to do.
@Suite struct TokenizerFileTests {
    /// The description of the refusal; nil when the file is taken.
    private func refusal(_ file: some Sequence<UInt8>) throws -> String? {
        let directory = try TemporaryDirectory()
        let path = try directory.write(file, to: "tokenizer.json")
        do {
            _ = try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
            return nil
        } catch {
            #expect(error.description.hasPrefix(path + ": "), "\(error)")
            return error.description
        }
    }

    /// A file that is taken, with changes at paths such as "model.merges".
    private func file(_ changes: [String: Any]) throws -> Data {
        func set(_ value: Any, at path: ArraySlice<Substring>, in object: Any?) -> Any {
            guard let first = path.first else { return value }
            var object = object as? [String: Any] ?? [:]
            object[String(first)] = set(value, at: path.dropFirst(), in: object[String(first)])
            return object
        }
        var root: Any = try JSONSerialization.jsonObject(with: GoldenTokenizers.file("gpt2"))
        for (path, value) in changes { root = set(value, at: path.split(separator: ".")[...], in: root) }
        return try JSONSerialization.data(withJSONObject: root)
    }

    private func expectRefusal(_ changes: [String: Any], _ words: String, _ line: Int = #line) throws {
        let description = try refusal(file(changes))
        #expect(description?.contains(words) ?? false, "line \(line): \(String(describing: description))")
    }

    private var vocabulary: [String: Any] {
        get throws {
            let root = try JSONSerialization.jsonObject(with: GoldenTokenizers.file("gpt2")) as? [String: Any]
            return (root?["model"] as? [String: Any])?["vocab"] as? [String: Any] ?? [:]
        }
    }

    @Test func theUnchangedFileIsTaken() throws {
        #expect(try refusal(file([:])) == nil)
    }

    @Test func whatIsNotSupportedIsNamed() throws {
        let remedy =
            "is not supported; take a byte-level BPE tokenizer, such as those of GPT-2, Llama 3, Qwen and OLMoE"
        try expectRefusal(["model.type": "Unigram"], "the model Unigram " + remedy)
        try expectRefusal(["model.dropout": 0.1], "dropout")
        try expectRefusal(["model.end_of_word_suffix": "</w>"], "\"end_of_word_suffix\" " + remedy)
        try expectRefusal(["model.continuing_subword_prefix": "##"], "continuing_subword_prefix")
        try expectRefusal(["normalizer": ["type": "Lowercase"]], "the normalizer Lowercase " + remedy)
        try expectRefusal(
            ["normalizer": ["type": "Sequence", "normalizers": [["type": "Prepend", "prepend": "▁"]]]],
            "the normalizer Prepend")
        try expectRefusal(["pre_tokenizer": NSNull()], "without the pre_tokenizer ByteLevel")
        try expectRefusal(["pre_tokenizer": ["type": "Metaspace"]], "the pre_tokenizer Metaspace")
        let byteLevel: [String: Any] = ["type": "ByteLevel", "add_prefix_space": false]
        try expectRefusal(
            ["pre_tokenizer": ["type": "Sequence", "pretokenizers": [byteLevel, ["type": "Digits"]]]], "after ByteLevel"
        )
        try expectRefusal(["pre_tokenizer": ["type": "Digits"]], "does not end with ByteLevel")
        try expectRefusal(["decoder": ["type": "WordPiece"]], "the decoder WordPiece")
        try expectRefusal(["version": "2.0"], "version")
        for (pattern, words) in [
            (#"(?<=a)b"#, "(?<"), (#"a*?"#, "after a repetition"), (#"\w+"#, #"\w"#), (#"a**"#, "after a repetition"),
            (#"\p{Greek}"#, "no general category"), (#"(a"#, "without \")\""), (#"a)"#, "without \"(\""),
            (#"[a"#, "without \"]\""),
            (#"a*"#, "matches nothing"), (#"a|"#, "matches nothing"), (#"(?!a)"#, "matches nothing"),
            (#"(a*)*b"#, "may be empty"),
            (#"a((((){1000}){1000}){1000}){1000}"#, "too many repetitions"),
            (#"a((()?){1000}){0,1000}"#, "too long"), (#"a{5000}"#, "repetitions"),
            (#"((a{500}){500}){500}b"#, "too long"), (#"(?i:ss)"#, "ligature"),
            (#"[[:alpha:]]"#, "within [ ]"),
            (#"[a&&b]"#, "within [ ]"), (#"[z-a]"#, "no two ends"), (#"\"#, "ends in the middle"),
            (#"^a"#, "at this place"),
            (String(repeating: "(", count: 5000), "too deep"), (#"\1"#, #"\1"#), (#"a{,}"#, "begins no count"),
        ] {
            let stages: [Any] = [
                ["type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false], byteLevel,
            ]
            try expectRefusal(["pre_tokenizer": ["type": "Sequence", "pretokenizers": stages]], words)
        }
        let contiguous: [Any] = [
            ["type": "Split", "pattern": ["String": "a"], "behavior": "Contiguous", "invert": false], byteLevel,
        ]
        try expectRefusal(["pre_tokenizer": ["type": "Sequence", "pretokenizers": contiguous]], "Contiguous")
    }

    /// A tokenizer of an expression alone.
    private func tokenizer(splitting pattern: String) throws -> Tokenizer {
        let stages: [Any] = [
            ["type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false],
            ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false],
        ]
        let directory = try TemporaryDirectory()
        let changes = ["pre_tokenizer": ["type": "Sequence", "pretokenizers": stages]]
        let path = try directory.write(file(changes), to: "tokenizer.json")
        return try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
    }

    /// Backtracking that would take exponentially many steps, also in lookahead and atomic groups, or the square of the length.
    @Test(
        arguments: [
            (#"(?:\p{L}+)+[0-9]"#, 40), (#"(?!(?:\p{L}+)+[0-9])\p{L}"#, 40), (#"(?:(?:\p{L}+)+[0-9])?+\p{L}"#, 40),
            (#"\p{L}+[0-9]"#, 50_000),
        ])
    func matchingEnds(pattern: String, letters: Int) throws {
        let tokenizer = try tokenizer(splitting: pattern)
        #expect(try tokenizer.decode(tokenizer.encode("aaa 1")) == "aaa 1")
        let error = #expect(throws: TokenDataError.self) {
            try tokenizer.encode(String(repeating: "a", count: letters))
        }
        #expect(error?.description.contains("the tokenizer's expression \(pattern) takes more than") == true)
    }

    /// Places where nothing matches, and long runs that give back, are no reason to stop.
    @Test(arguments: [(#"\p{Lu}+"#, "中"), (#"\p{Lu}+"#, "a"), (#"\s+(?!\S)|\s+"#, " "), (#"\p{L}{1,3}"#, "a")])
    func longTextsAreSplit(pattern: String, character: String) throws {
        let tokenizer = try tokenizer(splitting: pattern)
        let text = String(repeating: character, count: 50_000)
        #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
    }

    @Test func aTextThatIsTakenAwayIsNamed() throws {
        let directory = try TemporaryDirectory()
        let split: [String: Any] = ["type": "Split", "pattern": ["Regex": "a"], "behavior": "Removed", "invert": false]
        let changes = [
            "pre_tokenizer": [
                "type": "Sequence", "pretokenizers": [split, ["type": "ByteLevel", "add_prefix_space": false]],
            ]
        ]
        let tokenizer = try directory.write(file(changes), to: "tokenizer.json")
        let text = try directory.write("aaa".utf8, to: "text")
        let error = #expect(throws: TokenDataError.self) {
            try DataPreparation.prepare(
                files: [text], output: directory.path("data"), tokenizer: .file(tokenizer), validationFraction: 0)
        }
        #expect(error == .removedText(file: text))
    }

    /// Repetitions of what may be empty, as long as they are counted and few.
    @Test(arguments: ["(?:)?a", "(?:a?){2}b", #"(?:\s*)?\p{N}{1,3}"#, #"[^\s]?(?:\s*[a-z]*)?x"#, "(){1000}a"])
    func emptyRepetitionsAreTaken(pattern: String) throws {
        let stages: [Any] = [
            ["type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false],
            ["type": "ByteLevel", "add_prefix_space": false],
        ]
        #expect(try refusal(file(["pre_tokenizer": ["type": "Sequence", "pretokenizers": stages]])) == nil)
    }

    @Test func damageIsNamed() throws {
        let remedy = "the file is damaged: fetch it, or save it with the tokenizers package, again"
        try expectRefusal(["model.vocab": ["a": "b"]], "the token \"a\" has no id that is a number from 0; " + remedy)
        try expectRefusal(["model.vocab": [1, 2]], "\"vocab\" is no object")
        try expectRefusal(["model.vocab": [String: Any]()], "\"vocab\" is no object")
        try expectRefusal(["model.vocab": try vocabulary.merging(["a": 1e30]) { $1 }], "\"a\" has no id")
        try expectRefusal(["model.vocab": try vocabulary.merging(["a": -1]) { $1 }], "\"a\" has no id")
        try expectRefusal(["model.vocab": try vocabulary.merging(["a": 1.5]) { $1 }], "\"a\" has no id")
        try expectRefusal(
            ["model.vocab": try vocabulary.merging(["more": 1001]) { $1 }], "\"more\" has the id 1001, but 1001 tokens")
        try expectRefusal(
            ["model.vocab": try vocabulary.merging(["a": Int.max]) { $1 }], "\"a\" has the id 9223372036854775807")
        try expectRefusal(["model.vocab": try vocabulary.merging(["a": 5]) { $1 }], "the id 5 is that of two tokens")
        var withoutA = try vocabulary
        let (a, last) = (withoutA.removeValue(forKey: "a"), withoutA.first { $0.value as? Int == 999 })
        withoutA[try #require(last?.key)] = a
        try expectRefusal(
            ["model.vocab": withoutA, "model.merges": [Any]()], "a vocabulary without \"a\", the token of the byte 97")
        try expectRefusal(
            ["model.merges": [["a", "nothing"]]], "merge 0 names \"anothing\", which is not in the vocabulary")
        try expectRefusal(["model.merges": ["a b c"]], "merge 0 is no pair")
        try expectRefusal(["model.merges": ["a"]], "merge 0 is no pair")
        try expectRefusal(["model.merges": [["a", 1]]], "merge 0 is no pair")
        try expectRefusal(["model.merges": [["a", "b", "c"]]], "merge 0 is no pair")
        try expectRefusal(["model.merges": 7], "\"merges\" is no list")
        try expectRefusal(["model": 7], "\"vocab\" is no object")
        try expectRefusal(["model": NSNull()], "\"model\" is missing")
        try expectRefusal(["model.ignore_merges": 1], "\"ignore_merges\" is neither true nor false")
        try expectRefusal(
            ["added_tokens": [["id": 2000, "content": "<x>"]]], "\"<x>\" has the id 2000, but 1000 follows")
        try expectRefusal(["added_tokens": [["id": 5, "content": "a"]]], "\"a\" has the id 5, but")
        try expectRefusal(["added_tokens": [["content": "a"]]], "no \"content\" or \"id\"")
        try expectRefusal(
            ["added_tokens": [["id": 1000, "content": "<x>"], ["id": 1001, "content": "<x>"]]], "\"<x>\" is there twice"
        )
        try expectRefusal(["added_tokens": [["id": 1000, "content": "<x>", "lstrip": "no"]]], "\"lstrip\" is neither")
        try expectRefusal(["normalizer": 5], "\"normalizer\" has no \"type\"")
        #expect(try refusal("".utf8)?.contains("ends in the middle, at byte 0") ?? false)
        #expect(try refusal([0x7B, 0xFF])?.contains("the bytes at offset 1 are not UTF-8") ?? false)
        #expect(try refusal("[1]".utf8)?.contains("\"model\" is missing") ?? false)
        #expect(
            try refusal((String(repeating: "[", count: 1 << 20)).utf8)?.contains("nested deeper than 64") ?? false)
        #expect(
            try refusal(#"{"model": {"vocab": {"a": 0, "a": 1}}, "pre_tokenizer": {"type": "ByteLevel"}}"#.utf8)?
                .contains("is there twice") ?? false)
        #expect(try refusal(#"{"a": "\ud800"}"#.utf8)?.contains("surrogate") ?? false)
    }

    /// Files that end early, and files with bytes changed, are taken or refused, whatever they are.
    @Test func damagedFilesDoNotTrap() throws {
        var generator = SplitMix64(state: TestRuns.seed())
        // Small, so that changes hit all of it.
        let characters =
            (0x21...0x7E).map { $0 } + (0xA1...0xAC).map { $0 } + (0xAE...0xFF).map { $0 } + (0x100...0x143).map { $0 }
        let vocabulary = characters.enumerated().map { index, value in
            let text = String(Unicode.Scalar(value)!)
            return "\"\(text == "\"" || text == "\\" ? "\\" + text : text)\":\(index)"
        }
        let text = """
            {"version":"1.0","added_tokens":[{"id":257,"content":"<s>","lstrip":true,"rstrip":true,"single_word":true}],
            "normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[
            {"type":"Split","pattern":{"Regex":"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}]?\\\\p{L}+|\\\\p{N}{1,3}|\\\\s+(?!\\\\S)|[a-z]++"},"behavior":"Isolated",
            "invert":false},{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}]},
            "model":{"type":"BPE","merges":[["a","b"],"a b"],"ignore_merges":true,"vocab":{"ab":256,\(vocabulary.joined(separator: ","))}}}
            """
        let whole = Array(text.utf8)
        #expect(try refusal(whole) == nil)
        for length in stride(from: 0, to: whole.count, by: 7) { #expect(try refusal(whole[..<length]) != nil) }
        let directory = try TemporaryDirectory()
        for _ in 0..<TestRuns.count(300, soak: 100_000) {
            var damaged = whole
            for _ in 0...Int.random(in: 0..<3, using: &generator) {
                let place = Int.random(in: 0..<700, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: damaged[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: damaged.remove(at: place)
                case 2: damaged.insert(Array("(){}[]|\\*+?\"0".utf8).randomElement(using: &generator)!, at: place)
                default: damaged[place] = damaged[Int.random(in: 0..<700, using: &generator)]
                }
            }
            let path = try directory.write(damaged, to: "tokenizer.json")
            if let tokenizer = try? Tokenizer(tokenizerFile: path, addsSpecialTokens: false) {
                let text = "ab <s> e\u{301}'s 1234\r\n  x" + LiveTokenizers.text(&generator)
                _ = try tokenizer.decode(tokenizer.encode(text))
            }
        }
    }
}
