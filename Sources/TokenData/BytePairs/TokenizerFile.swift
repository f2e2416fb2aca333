/// What a `tokenizer.json` says.
struct TokenizerFile {
    /// Why it is of no use.
    struct Unusable: Error {
        let reason: String

        /// What is supported instead of `what`.
        static func unsupported(_ what: String) -> Unusable {
            Unusable(
                reason:
                    "\(what) is not supported; take a byte-level BPE tokenizer, such as those of GPT-2, Llama 3, Qwen "
                    + "and OLMoE, or train one with --tokenizer bpe")
        }

        static func damaged(_ what: String) -> Unusable {
            Unusable(reason: "\(what); the file is damaged: fetch it, or save it with the tokenizers package, again")
        }
    }

    let root: JSON

    init(_ text: [UInt8]) throws(Unusable) {
        if let position = TextReader.firstInvalid(in: text) {
            throw .damaged("the bytes at offset \(position) are not UTF-8")
        }
        do {
            // The closure's type of error is not inferred.
            root = try text.withUnsafeBufferPointer { (text) throws(JSON.SyntaxError) in try JSON(parsing: text) }
        } catch {
            throw .damaged("it is not JSON: \(error.reason), at byte \(error.position)")
        }
        guard case .object = root, root["model"] != nil else {
            throw .damaged("it is no tokenizer: \"model\" is missing")
        }
        if let version = root["version"], version != .string(Array("1.0".utf8)) {
            throw .unsupported("another \"version\" than 1.0")
        }
    }

    func tokenizer() throws(Unusable) -> BytePairTokenizer {
        let normalizer = try normalizer(root["normalizer"])
        let (splitter, patterns) = try splitter()
        let model = root["model"] ?? .null
        try checkKind(of: model)
        let vocabulary = try Vocabulary(model["vocab"])
        let byteTokens = try vocabulary.byteTokens()
        let merges = try merges(model["merges"], vocabulary)
        let added = try addedTokens(vocabulary)
        try checkDecoder(root["decoder"])

        var texts = vocabulary.texts
        for token in added {
            if Int(token.id) < texts.count {
                texts[Int(token.id)] = token.content
            } else {
                texts.append(token.content)
            }
        }
        guard texts.count <= BytePairTokenizer.maximumTokens else {
            throw Unusable(reason: "it has more than \(BytePairTokenizer.maximumTokens) tokens")
        }
        var normalized = [AddedTokens.Token]()
        for token in added where token.isNormalized {
            var content = [UInt8]()
            token.content.withUnsafeBufferPointer { normalizer.withNormalized($0) { content = Array($0) } }
            normalized.append(token.with(content: content))
        }
        guard Set(normalized.map(\.content)).count == normalized.count else {
            throw .damaged("\"added_tokens\" has two that are the same when they are normalised")
        }
        return BytePairTokenizer(
            model: BytePairModel(
                byteTokens: byteTokens, merges: merges,
                wholeWords: try bool(model["ignore_merges"], "ignore_merges") ?? false ? vocabulary.wholeWords() : nil),
            normalizer: normalizer, splitter: splitter,
            verbatim: AddedTokens(added.filter { !$0.isNormalized }), normalized: AddedTokens(normalized), texts: texts,
            frame: frame(root["post_processor"], tokens: texts.count),
            isCutAfterLetters: patterns.contains(where: WordSplitter.cutPatterns.contains)
                && WordSplitter.cutPatterns.union(WordSplitter.passingPatterns).isSuperset(of: patterns)
                && !splitter.stages.contains { $0.addsPrefixSpace } && added.allSatisfy(\.isCutAfterLetters))
    }

    func bool(_ value: JSON?, _ name: String) throws(Unusable) -> Bool? {
        guard let value else { return nil }
        guard case .bool(let bool) = value else { throw .damaged("\"\(name)\" is neither true nor false") }
        return bool
    }

    func type(of value: JSON, _ name: String) throws(Unusable) -> String {
        guard let type = value["type"]?.string else { throw .damaged("\"\(name)\" has no \"type\"") }
        return type
    }

    func elements(_ value: JSON?, _ name: String) throws(Unusable) -> [JSON] {
        guard case .array(let elements) = value else { throw .damaged("\"\(name)\" is no list") }
        return elements
    }

    private func checkKind(of model: JSON) throws(Unusable) {
        if let type = model["type"]?.string, type != "BPE" { throw .unsupported("the model \(type)") }
        switch model["dropout"] {
        case nil, .integer(0), .number(0): break
        default: throw .unsupported("dropout, by which the tokens of a text are random,")
        }
        for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let value = model[name], value != .string([]) { throw .unsupported("\"\(name)\"") }
        }
        // Neither an unknown token nor byte_fallback is ever needed: all bytes have tokens.
    }

    private func checkDecoder(_ value: JSON?) throws(Unusable) {
        guard let value else { return }
        switch try type(of: value, "decoder") {
        case "ByteLevel", "Fuse": return
        case "Sequence": for element in try elements(value["decoders"], "decoders") { try checkDecoder(element) }
        case let other: throw .unsupported("the decoder \(other)")
        }
    }

    private func merges(
        _ value: JSON?, _ vocabulary: Vocabulary
    ) throws(Unusable) -> PairTable<BytePairModel.Merge> {
        let elements = try elements(value, "merges")
        var merges = PairTable(placeholder: BytePairModel.Merge(rank: 0, token: 0), capacity: elements.count)
        var rank: Int32 = 0
        for (index, element) in elements.enumerated() {
            let parts: [[UInt8]]
            switch element {
            case .string(let line) where line.starts(with: "#version".utf8): continue
            case .string(let line):
                parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false).map(Array.init)
            case .array(let pair):
                parts = pair.compactMap { if case .string(let part) = $0 { part } else { nil } }
                guard parts.count == pair.count else { throw .damaged("merge \(index) is no pair of tokens") }
            default: throw .damaged("merge \(index) is no pair of tokens")
            }
            guard parts.count == 2 else { throw .damaged("merge \(index) is no pair of tokens") }
            func token(_ text: [UInt8]) throws(Unusable) -> Int32 {
                guard let token = vocabulary.token(text) else {
                    throw .damaged("merge \(index) names \"\(Self.show(text))\", which is not in the vocabulary")
                }
                return token
            }
            let merged = BytePairModel.Merge(rank: rank, token: try token(parts[0] + parts[1]))
            // Of equal pairs the last counts, as in the package.
            merges.update(TokenPair(try token(parts[0]), try token(parts[1]))) { $0 = merged }
            rank += 1
        }
        return merges
    }

    private func addedTokens(_ vocabulary: Vocabulary) throws(Unusable) -> [AddedTokens.Token] {
        guard let value = root["added_tokens"] else { return [] }
        var tokens = [AddedTokens.Token]()
        var contents = Set<[UInt8]>()
        var next = Int32(vocabulary.texts.count)
        for element in try elements(value, "added_tokens") {
            guard case .string(let content) = element["content"], case .integer(let id) = element["id"] else {
                throw .damaged("an added token has no \"content\" or \"id\"")
            }
            guard !content.isEmpty else { continue }
            guard contents.insert(content).inserted else {
                throw .damaged("the added token \"\(Self.show(content))\" is there twice")
            }
            // The package does not read ids, but gives the next ones to tokens that are not in the vocabulary.
            let expected = vocabulary.token(content) ?? next
            guard id == Int(expected) else {
                throw .damaged("the added token \"\(Self.show(content))\" has the id \(id), but \(expected) follows")
            }
            if expected == next { next += 1 }
            tokens.append(
                AddedTokens.Token(
                    id: expected, content: content,
                    isSingleWord: try bool(element["single_word"], "single_word") ?? false,
                    stripsLeft: try bool(element["lstrip"], "lstrip") ?? false,
                    stripsRight: try bool(element["rstrip"], "rstrip") ?? false,
                    isNormalized: try bool(element["normalized"], "normalized") ?? true))
        }
        return tokens
    }

    /// A token as it can stand in a message.
    static func show(_ token: [UInt8]) -> String {
        let text = String(decoding: token.prefix(40), as: UTF8.self)
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 ? "\u{FFFD}" : $0 }))
    }
}

extension AddedTokens.Token {
    fileprivate func with(content: [UInt8]) -> Self {
        Self(
            id: id, content: content, isSingleWord: isSingleWord, stripsLeft: stripsLeft, stripsRight: stripsRight,
            isNormalized: isNormalized)
    }

    /// Whether a text may be cut after letters (`BytePairTokenizer.cut`) as if this token were not there.
    fileprivate var isCutAfterLetters: Bool {
        let scalars = Array(String(decoding: content, as: UTF8.self).unicodeScalars)
        let hasBoundary = zip(scalars, scalars.dropFirst()).contains { BytePairTokenizer.isBoundary($0, $1) }
        return !isSingleWord && !stripsRight && !hasBoundary
    }
}
