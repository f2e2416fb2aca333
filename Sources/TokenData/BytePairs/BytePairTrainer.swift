import HeapModule

/// Learns a vocabulary from texts, as `BpeTrainer` of the `tokenizers` package does with the initial alphabet of ByteLevel: the
/// pair of tokens that occurs most often becomes a token, again and again; of equally frequent pairs the one whose tokens came
/// first.
struct BytePairTrainer {
    private static let splitter = WordSplitter.gpt2

    private var words = ByteStringTable(capacity: 1 << 12)
    private var counts: [Int] = []

    /// Counts the words of a text, or of a part of one that was cut where `BytePairTokenizer.cut` says.
    /// - Parameter text: valid UTF-8.
    mutating func add(_ text: UnsafeBufferPointer<UInt8>) throws(TokenDataError) {
        try Self.splitter.forEachWord(in: text) { word in
            let (index, isNew) = words.insert(word)
            if isNew { counts.append(0) }
            counts[index] += 1
        }
    }

    /// - Parameters:
    ///   - vocabularySize: at least 256; there are fewer tokens when the words have no more pairs.
    ///   - minimumFrequency: pairs that occur more seldom are not merged.
    func train(vocabularySize: Int, minimumFrequency: Int) -> TrainedVocabulary {
        var state = State(words, counts)
        while state.vocabulary.tokens.count < vocabularySize, state.mergeNext(minimumFrequency: minimumFrequency) {}
        return state.vocabulary
    }

    /// The words that are left to merge in, and the pairs in them.
    private struct State {
        var vocabulary = TrainedVocabulary()
        /// Tokens by the bytes that they stand for.
        private var tokens = ByteStringTable()
        /// The tokens of each word.
        private var words: [[Int32]]
        private let counts: [Int]
        private var pairs = PairTable(placeholder: 0, capacity: 1 << 12)
        private var candidates: Heap<Candidate>

        /// A pair that occurs in words. The package keeps those that a pair got at different times apart, and so do we: the pair
        /// is merged in the ones, and later in the others.
        private struct Candidate: Comparable {
            let count: Int
            let pair: TokenPair
            let words: [Int32]

            /// The one to merge first is the least.
            static func < (a: Candidate, b: Candidate) -> Bool {
                a.count == b.count ? a.pair < b.pair : a.count > b.count
            }

            static func == (a: Candidate, b: Candidate) -> Bool { a.count == b.count && a.pair == b.pair }
        }

        init(_ table: ByteStringTable, _ counts: [Int]) {
            self.counts = counts
            // Bytes in the order of the characters that stand for them.
            var byteTokens = [Int32](repeating: 0, count: 256)
            let order = (0..<256).sorted { ByteAlphabet.scalars[$0] < ByteAlphabet.scalars[$1] }
            for byte in order {
                byteTokens[byte] = Int32(tokens.insert([UInt8(byte)]).index)
                vocabulary.tokens.append([UInt8(byte)])
            }
            words = (0..<table.count).map { table[$0].map { byteTokens[Int($0)] } }
            candidates = Heap()
            var found = Found()
            for (index, word) in words.enumerated() {
                for (left, right) in zip(word, word.dropFirst()) {
                    let pair = TokenPair(left, right)
                    pairs.update(pair) { $0 += counts[index] }
                    found.append(word: index, to: pair)
                }
            }
            candidates = Heap(found.candidates(pairs))
        }

        /// Words by the pairs that were found in them.
        private struct Found {
            private var places = PairTable(placeholder: Int32(-1))
            private var pairs: [TokenPair] = []
            private var words: [[Int32]] = []

            /// - Parameter word: not below the one before.
            mutating func append(word: Int, to pair: TokenPair) {
                var place: Int32 = -1
                let new = Int32(pairs.count)
                places.update(pair) { value in
                    if value < 0 { value = new }
                    place = value
                }
                if Int(place) == pairs.count {
                    pairs.append(pair)
                    words.append([])
                }
                if words[Int(place)].last != Int32(word) { words[Int(place)].append(Int32(word)) }
            }

            func candidates(_ counts: PairTable<Int>) -> [Candidate] {
                zip(pairs, words).compactMap { pair, words in
                    let count = counts[pair] ?? 0
                    return count > 0 ? Candidate(count: count, pair: pair, words: words) : nil
                }
            }
        }

        /// - Returns: false when there is nothing to merge.
        mutating func mergeNext(minimumFrequency: Int) -> Bool {
            guard let candidate = candidates.min else { return false }
            let (pair, count) = (candidate.pair, pairs[candidate.pair] ?? 0)
            if candidate.count != count {
                // It has become rarer, or more frequent elsewhere.
                candidates.replaceMin(with: Candidate(count: count, pair: pair, words: candidate.words))
                return true
            }
            guard count >= max(1, minimumFrequency) else { return false }
            candidates.removeMin()
            let bytes = vocabulary.tokens[Int(pair.left)] + vocabulary.tokens[Int(pair.right)]
            let (token, isNew) = tokens.insert(bytes)
            if isNew { vocabulary.tokens.append(bytes) }
            vocabulary.merges.append(pair)
            var found = Found()
            for word in candidate.words { merge(pair, into: Int32(token), word: Int(word), &found) }
            candidates.insert(contentsOf: found.candidates(pairs))
            return true
        }

        /// Replaces the pair in a word, from left to right, and counts what that does to the pairs beside it.
        private mutating func merge(_ pair: TokenPair, into token: Int32, word index: Int, _ found: inout Found) {
            let (old, count) = (words[index], counts[index])
            var merged = [Int32]()
            merged.reserveCapacity(old.count)
            var place = 0
            while place < old.count {
                guard place + 1 < old.count, old[place] == pair.left, old[place + 1] == pair.right else {
                    merged.append(old[place])
                    place += 1
                    continue
                }
                if let before = merged.last {
                    pairs.update(TokenPair(before, pair.left)) { $0 -= count }
                    pairs.update(TokenPair(before, token)) { $0 += count }
                    found.append(word: index, to: TokenPair(before, token))
                }
                if place + 2 < old.count {
                    let after = old[place + 2]
                    pairs.update(TokenPair(pair.right, after)) { $0 -= count }
                    pairs.update(TokenPair(token, after)) { $0 += count }
                    found.append(word: index, to: TokenPair(token, after))
                }
                merged.append(token)
                place += 2
            }
            words[index] = merged
        }
    }
}

/// What training learned.
struct TrainedVocabulary {
    /// The bytes that each token stands for.
    fileprivate(set) var tokens: [[UInt8]] = []
    /// In the order in which they were made; a pair may come twice.
    fileprivate(set) var merges: [TokenPair] = []

    /// A `tokenizer.json` as the package writes it.
    func file() -> [UInt8] {
        // Of a pair that comes twice the last place counts.
        var last = PairTable(placeholder: 0, capacity: merges.count)
        for (rank, pair) in merges.enumerated() { last.update(pair) { $0 = rank } }
        func quoted(_ token: Int) -> String {
            // The alphabet has no control characters.
            var text = String.UnicodeScalarView("\"".unicodeScalars)
            for byte in tokens[token] {
                let scalar = ByteAlphabet.scalars[Int(byte)]
                if scalar == "\"" || scalar == "\\" { text.append("\\") }
                text.append(scalar)
            }
            return String(text) + "\""
        }
        let vocabulary = tokens.indices.map { "      \(quoted($0)): \($0)" }
        let merges = merges.enumerated().filter { last[$1] == $0 }.map { _, pair in
            "      [\n        \(quoted(Int(pair.left))),\n        \(quoted(Int(pair.right)))\n      ]"
        }
        func byteLevel(addsPrefixSpace: Bool) -> String {
            """
            {
                "type": "ByteLevel",
                "add_prefix_space": \(addsPrefixSpace),
                "trim_offsets": true,
                "use_regex": true
              }
            """
        }
        let text = """
            {
              "version": "1.0",
              "truncation": null,
              "padding": null,
              "added_tokens": [],
              "normalizer": null,
              "pre_tokenizer": \(byteLevel(addsPrefixSpace: false)),
              "post_processor": \(byteLevel(addsPrefixSpace: true)),
              "decoder": \(byteLevel(addsPrefixSpace: true)),
              "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": {
            \(vocabulary.joined(separator: ",\n"))
                },
                "merges": [\(merges.isEmpty ? "]" : "\n" + merges.joined(separator: ",\n") + "\n    ]")
              }
            }
            """
        return Array(text.utf8)
    }
}
