import Foundation
import TestSupport
import Testing
import TokenData

/// The ids of the Python package `tokenizers`, for tokenizers of every form that is supported.
@Suite struct BytePairGoldenTests {
    private static func tokenizer(_ variant: String, addsSpecialTokens: Bool = false) throws -> Tokenizer {
        let directory = try TemporaryDirectory()
        let path = try directory.write(GoldenTokenizers.file(variant), to: "tokenizer.json")
        return try Tokenizer(tokenizerFile: path, addsSpecialTokens: addsSpecialTokens)
    }

    @Test func allVariantsAreTested() throws {
        #expect(try GoldenTokenizers.load().variants.keys.sorted() == GoldenTokenizers.variantNames.sorted())
    }

    @Test(arguments: GoldenTokenizers.variantNames)
    func textsHaveThePackagesIDs(variant: String) throws {
        let golden = try GoldenTokenizers.load()
        let expected = try #require(golden.variants[variant])
        let tokenizer = try Self.tokenizer(variant)
        #expect(golden.texts.count == expected.texts.count)
        for (index, text) in golden.texts.enumerated() {
            let ids = try tokenizer.encode(text)
            #expect(GoldenTokenizers.summary(ids) == expected.texts[index], "\(index): \(text.debugDescription) \(ids)")
            // The package takes an added token's é for a byte; here it is what the token says.
            if variant != "neox" {
                let decoded = tokenizer.decode(ids)
                #expect(
                    GoldenTokenizers.checksum(decoded.utf8) == expected.decoded[index],
                    "\(index): \(text.debugDescription) \(decoded.debugDescription)")
            }
        }
        #expect(GoldenTokenizers.summary(try tokenizer.encode(GoldenTokenizers.sample())) == expected.sample)
        #expect(try Self.tokenizer(variant, addsSpecialTokens: true).encode("Hello") == expected.special)
    }

    /// Every scalar of every plane: beside its neighbours, and those of the planes that have letters and marks among others.
    @Test(arguments: GoldenTokenizers.variantNames)
    func allPlanesHaveThePackagesIDs(variant: String) throws {
        let expected = try #require(try GoldenTokenizers.load().variants[variant])
        let tokenizer = try Self.tokenizer(variant)
        #expect(expected.rows.count == 17 * 16 && expected.contexts.count == 2 * 16)
        for (block, summary) in expected.rows.enumerated() {
            let ids = try tokenizer.encode(GoldenTokenizers.rows(block))
            #expect(GoldenTokenizers.summary(ids) == summary, "rows from U+\(String(block << 12, radix: 16))")
        }
        for (block, summary) in expected.contexts.enumerated() {
            let ids = try tokenizer.encode(GoldenTokenizers.contexts(block))
            #expect(GoldenTokenizers.summary(ids) == summary, "contexts from U+\(String(block << 12, radix: 16))")
        }
    }

    /// A tokenizer with added tokens, whose ids follow from 1000.
    private static func tokenizer(added: [[String: Any]]) throws -> Tokenizer {
        var root = try #require(
            try JSONSerialization.jsonObject(with: GoldenTokenizers.file("gpt2")) as? [String: Any])
        root["added_tokens"] = added.enumerated().map { index, token in token.merging(["id": 1000 + index]) { $1 } }
        let directory = try TemporaryDirectory()
        let path = try directory.write(JSONSerialization.data(withJSONObject: root), to: "tokenizer.json")
        return try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
    }

    /// Tokens of spaces after one that takes the spaces after it. Those that take the spaces before them get what is left:
    /// where that is less than nothing, the package panics, and none comes here.
    @Test(arguments: [
        (" ", true, false, "<a> x", [1000, 87]), (" ", true, false, "<a>   x", [1000, 87]),
        (" ", true, false, "<a>   ", [1000]), (" ", true, false, "<a>x y", [1000, 87, 1001, 88]),
        (" ", true, true, "<a>   x", [1000, 87]), (" x", true, false, "<a>   x", [1000, 1001]),
        (" ", false, false, "<a>   x", [1000, 1001, 1001, 1001, 87]), (" x", false, false, "<a>   x", [1000, 1001]),
        (" ", false, true, "<a>   x", [1000, 1001, 1001, 1001, 87]),
    ])
    func spacesAreTakenOnce(
        second: String, stripsLeft: Bool, stripsRight: Bool, text: String, expected: [Int32]
    ) throws {
        let tokenizer = try Self.tokenizer(added: [
            ["content": "<a>", "rstrip": true, "normalized": false],
            ["content": second, "lstrip": stripsLeft, "rstrip": stripsRight, "normalized": false],
        ])
        #expect(try tokenizer.encode(text) == expected)
    }

    /// Whatever added tokens take of the spaces beside them; where none takes any, no part of the text is lost.
    @Test func addedTokensNeverTrap() throws {
        var generator = SplitMix64(state: TestRuns.seed())
        let pieces = ["<a>", " ", "a", "\n", "é", "\u{3000}"]
        for round in 0..<TestRuns.count(40, soak: 2000) {
            let strips = round % 4 > 0
            let added = ["<a>", " ", "  ", "\n", " a", "a ", "a a"].map { content -> [String: Any] in
                [
                    "content": content, "lstrip": strips && Bool.random(using: &generator),
                    "rstrip": strips && Bool.random(using: &generator),
                    "single_word": Bool.random(using: &generator), "normalized": Bool.random(using: &generator),
                ]
            }
            let tokenizer = try Self.tokenizer(added: added)
            for _ in 0..<50 {
                var text = ""
                for _ in 0..<Int.random(in: 0...12, using: &generator) {
                    text += pieces.randomElement(using: &generator)!
                }
                let decoded = try tokenizer.decode(tokenizer.encode(text))
                #expect(strips || decoded == text, "\(text.debugDescription) \(added)")
            }
        }
    }

    /// What `Golden/live.py` encodes with the package, for texts of a new seed.
    @Test(
        .enabled(if: LiveTokenizers.isThere, "no .venv: deploy/python.sh makes it"),
        arguments: GoldenTokenizers.variantNames)
    func randomTextsHaveThePackagesIDs(variant: String) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(GoldenTokenizers.file(variant), to: "tokenizer.json")
        let tokenizer = try Tokenizer(tokenizerFile: path, addsSpecialTokens: false)
        var generator = SplitMix64(state: TestRuns.seed())
        let texts = (0..<TestRuns.count(200, soak: 5000)).map { _ in LiveTokenizers.text(&generator) }
        for (text, ids) in zip(texts, try LiveTokenizers.encode(texts, tokenizer: path)) {
            #expect(try tokenizer.encode(text) == ids, "\(text.debugDescription)")
        }
    }
}

/// The package itself, from `deploy/python.sh`.
enum LiveTokenizers {
    private static let python = GoldenTokenizers.folder.appending(path: "../../../.venv/bin/python").standardized.path
    static let isThere = FileManager.default.isExecutableFile(atPath: python)

    static func encode(_ texts: [String], tokenizer: String) throws -> [[Int32]] {
        let directory = try TemporaryDirectory()
        let input = try directory.write(JSONEncoder().encode(texts), to: "texts.json")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = [GoldenTokenizers.folder.appending(path: "live.py").path, tokenizer, input]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return try JSONDecoder().decode([[Int32]].self, from: data)
    }

    /// Letters, marks, spaces and what tokenizers look for, of many kinds.
    static func text(_ generator: inout SplitMix64) -> String {
        let pieces = [
            "'s", "'LL", "'ſ", " ", "  ", "\n", "\r\n", "\t", "a", "Ab", "é", "e\u{301}", "\u{301}\u{323}", "1", "234",
            "٣", "½",
            ".", "!?", "//", "中文", "。", "ア", "한", "\u{1112}\u{1161}\u{11AB}", "👍🏽", "👩‍👧", "مرحبا", "नमस्ते", "\u{0}",
            "\u{85}",
            "\u{A0}", "\u{3000}", "<|endoftext|>", "<mask>", "word", "<both>", "café", "-", "(", "_",
        ]
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...40, using: &generator) {
            if Int.random(in: 0..<6, using: &generator) > 0 {
                text += pieces.randomElement(using: &generator)!.unicodeScalars
            } else if let scalar = Unicode.Scalar(UInt32.random(in: 0...0x32000, using: &generator)) {
                text.append(scalar)
            }
        }
        return String(text)
    }
}
