import Foundation

/// What Python's `tokenizers` package made of texts (`Golden/make_tokenizers.py`).
struct GoldenTokenizers: Decodable {
    struct Variant: Decodable {
        /// Number and CRC-32 of the ids of each text.
        let texts: [[UInt32]]
        /// CRC-32 of each text, encoded and decoded.
        let decoded: [UInt32]
        /// The ids of "Hello", with special tokens.
        let special: [Int32]
        let sample: [UInt32]
        let rows: [[UInt32]]
        let contexts: [[UInt32]]
    }

    struct Training: Decodable {
        let vocabularySize: Int
        let minimumFrequency: Int
        let tokens: Int
        let merges: Int
        let mergesChecksum: UInt32
        let vocabularyChecksum: UInt32
        let ids: [UInt32]

        private enum CodingKeys: String, CodingKey {
            case tokens, merges, ids
            case vocabularySize = "vocabulary_size"
            case minimumFrequency = "minimum_frequency"
            case mergesChecksum = "merges_crc"
            case vocabularyChecksum = "vocabulary_crc"
        }
    }

    let texts: [String]
    let variants: [String: Variant]
    let training: [Training]

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden")
    static let variantNames = [
        "gpt2", "gpt2-prefix", "llama3", "qwen2", "neox", "deepseek", "o200k", "cl100k", "digits", "numbers", "whole",
    ]

    static func load() throws -> GoldenTokenizers {
        try JSONDecoder().decode(Self.self, from: Data(contentsOf: folder.appending(path: "golden.json")))
    }

    static func sample() throws -> String {
        String(decoding: try Data(contentsOf: folder.appending(path: "sample.txt")), as: UTF8.self)
    }

    /// The `tokenizer.json` of a variant.
    static func file(_ variant: String) throws -> Data {
        func object(_ name: String) throws -> [String: Any] {
            try JSONSerialization.jsonObject(with: Data(contentsOf: folder.appending(path: name))) as? [String: Any]
                ?? [:]
        }
        var file = try object("base.json")
        let variants = try object("golden.json")["variants"] as? [String: Any] ?? [:]
        let changes = (variants[variant] as? [String: Any])?["changes"] as? [String: Any] ?? [:]
        var model = file["model"] as? [String: Any] ?? [:]
        for (name, change) in changes {
            switch name {
            case "ignore_merges": model[name] = change
            case "legacy_merges":
                model["merges"] = (model["merges"] as? [[String]] ?? []).map { $0.joined(separator: " ") }
            default: file[name] = change
            }
        }
        file["model"] = model
        return try JSONSerialization.data(withJSONObject: file)
    }

    /// Scalars that are taken together.
    static let block: UInt32 = 4096

    private static func scalars(_ block: Int) -> [Unicode.Scalar] {
        (UInt32(block) * Self.block..<UInt32(block + 1) * Self.block).compactMap(Unicode.Scalar.init)
    }

    /// The scalars of a block, 64 in a row.
    static func rows(_ block: Int) -> String {
        var text = String.UnicodeScalarView()
        let scalars = scalars(block)
        for (index, scalar) in scalars.enumerated() {
            text.append(scalar)
            if index % 64 == 63 || index == scalars.count - 1 { text.append("\n") }
        }
        return String(text)
    }

    /// Each scalar of a block among others.
    static func contexts(_ block: Int) -> String {
        var text = String.UnicodeScalarView()
        for scalar in scalars(block) {
            text += [" ", scalar, "x", scalar, scalar, "9", "'", scalar, "e", "\u{301}", scalar, " "]
        }
        return String(text)
    }

    /// Number and CRC-32 of ids.
    static func summary(_ ids: [Int32]) -> [UInt32] {
        [UInt32(ids.count), checksum(ids.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } })]
    }

    /// CRC-32, as zlib's.
    static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var sum: UInt32 = .max
        for byte in bytes { sum = table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8 }
        return ~sum
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? 0xEDB8_8320 ^ sum >> 1 : sum >> 1 }
    }
}
