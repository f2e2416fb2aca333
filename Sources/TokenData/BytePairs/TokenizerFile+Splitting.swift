extension TokenizerFile {
    func normalizer(_ value: JSON?) throws(Unusable) -> TextNormalizer {
        guard let value else { return .none }
        switch try type(of: value, "normalizer") {
        case "NFC": return .nfc
        case "Sequence":
            var result = TextNormalizer.none
            for element in try elements(value["normalizers"], "normalizers") {
                if try normalizer(element) == .nfc { result = .nfc }
            }
            return result
        case let other: throw .unsupported("the normalizer \(other)")
        }
    }

    /// - Returns: also the expressions in it.
    func splitter() throws(Unusable) -> (WordSplitter, patterns: [String]) {
        var stages = [WordSplitter.Stage]()
        var patterns = [String]()
        func compile(_ pattern: String) throws(Unusable) -> SplitPattern {
            patterns.append(pattern)
            do {
                return try SplitPattern(pattern)
            } catch {
                throw .unsupported("the expression \(pattern) with \(error.reason)")
            }
        }
        func append(_ value: JSON, isLast: Bool) throws(Unusable) {
            switch try type(of: value, "pre_tokenizer") {
            case "Sequence":
                let elements = try elements(value["pretokenizers"], "pretokenizers")
                for (index, element) in elements.enumerated() {
                    try append(element, isLast: isLast && index == elements.count - 1)
                }
            case "ByteLevel":
                guard isLast else { throw .unsupported("a pre_tokenizer after ByteLevel") }
                let usesPattern = try bool(value["use_regex"], "use_regex") ?? true
                stages.append(
                    WordSplitter.Stage(
                        addsPrefixSpace: try bool(value["add_prefix_space"], "add_prefix_space") ?? true,
                        pattern: usesPattern ? try compile(WordSplitter.gpt2Pattern) : nil))
            case "Split":
                guard !isLast else { throw .unsupported("a pre_tokenizer that does not end with ByteLevel") }
                stages.append(try split(value, compile))
            case "Digits":
                guard !isLast else { throw .unsupported("a pre_tokenizer that does not end with ByteLevel") }
                let isSingle = try bool(value["individual_digits"], "individual_digits") ?? false
                stages.append(WordSplitter.Stage(pattern: try compile(WordSplitter.digit + (isSingle ? "" : "+"))))
            case let other: throw .unsupported("the pre_tokenizer \(other)")
            }
        }
        guard let value = root["pre_tokenizer"] else {
            throw .unsupported("a tokenizer without the pre_tokenizer ByteLevel")
        }
        try append(value, isLast: true)
        return (WordSplitter(stages: stages), patterns)
    }

    private func split(
        _ value: JSON, _ compile: (String) throws(Unusable) -> SplitPattern
    ) throws(Unusable) -> WordSplitter.Stage {
        let pattern: String
        if let expression = value["pattern"]?["Regex"]?.string {
            pattern = expression
        } else if let text = value["pattern"]?["String"]?.string, !text.isEmpty {
            pattern = String(
                String.UnicodeScalarView(
                    text.unicodeScalars.flatMap { scalar -> [Unicode.Scalar] in
                        #"\.+*?()|[]{}^$-&/"#.unicodeScalars.contains(scalar) ? ["\\", scalar] : [scalar]
                    }))
        } else {
            throw .damaged("a pre_tokenizer Split has no \"pattern\"")
        }
        let isInverted = try bool(value["invert"], "invert") ?? false
        let removal: WordSplitter.Stage.Removal
        switch value["behavior"]?.string {
        case "Isolated": removal = .nothing
        case "Removed": removal = isInverted ? .rest : .matches
        case let other: throw .unsupported("a pre_tokenizer Split with the behavior \(other ?? "that is missing")")
        }
        return WordSplitter.Stage(pattern: try compile(pattern), removal: removal)
    }
}

extension WordSplitter {
    /// Expressions of known tokenizers, in which a word ends between a letter and a space or punctuation beyond ASCII
    /// (`BytePairTokenizer.isBoundary`), and what is before and after is split as if it were alone: some alternative matches any letter and any
    /// such follower, none has one behind the other, and the only lookahead stands behind spaces, so that it sees no further than the next
    /// letter.
    static let cutPatterns: Set<String> = [
        gpt2Pattern,
        // Llama 3, and GPT-4
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
        // Qwen 2 and 3
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
        // GPT-4o: behind letters and marks come at most the letters of an ending, behind ASCII's apostrophe.
        #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"#
            + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"#
            + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
        // The last of DeepSeek 3: it matches all but numbers, control and format characters. The file has the ends of lines themselves.
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\##r\##n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\##r\##n]*"##
            + ##"|\s*[\##r\##n]+|\s+(?!\S)|\s+"##,
    ]

    /// Expressions beside these, which have no such place in a match and leave it to the others.
    static let passingPatterns: Set<String> = [
        digit, digit + "+", #"\p{N}{1,3}"#, "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+",
    ]
}
