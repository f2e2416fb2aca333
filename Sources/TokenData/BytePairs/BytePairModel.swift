import HeapModule

/// The vocabulary of a byte-level tokenizer and the order in which pairs of its tokens are merged: GPT-2's byte-pair encoding
/// (Sennrich, Haddow, Birch 2016, "Neural machine translation of rare words with subword units").
struct BytePairModel: Sendable {
    /// What a pair becomes, and how early: the lowest rank first.
    struct Merge: BitwiseCopyable, Sendable {
        var rank: Int32
        var token: Int32
    }

    /// The token of each byte; -1 for bytes that are in no UTF-8 and have none.
    let byteTokens: [Int32]
    let merges: PairTable<Merge>
    /// Tokens by their bytes, when a word that is a token is not merged (`ignore_merges`); nil: words are merged always.
    let wholeWords: (table: ByteStringTable, tokens: [Int32])?

    /// What encoding needs room for.
    struct Scratch {
        fileprivate var tokens: [Int32] = []
        fileprivate var ranks: [Int32] = []
        fileprivate var next: [Int32] = []
        fileprivate var previous: [Int32] = []
    }

    /// Words up to this long are searched for the next merge from end to end, which is quicker for them than a heap.
    private static let shortWord = 40

    /// Appends the tokens of a word, merged as far as it goes, to `output`.
    func encode(_ word: UnsafeBufferPointer<UInt8>, scratch: inout Scratch, to output: inout [Int32]) {
        if let wholeWords, let index = wholeWords.table.index(of: word) {
            output.append(wholeWords.tokens[index])
            return
        }
        scratch.tokens.removeAll(keepingCapacity: true)
        for byte in word {
            let token = byteTokens[Int(byte)]
            precondition(token >= 0, "the text is not UTF-8")
            scratch.tokens.append(token)
        }
        if word.count <= Self.shortWord {
            mergeShort(&scratch)
            output.append(contentsOf: scratch.tokens)
        } else {
            mergeLong(&scratch, to: &output)
        }
    }

    @inline(__always)
    private func rank(_ left: Int32, _ right: Int32) -> Int32 { merges[TokenPair(left, right)]?.rank ?? .max }

    /// Merges the leftmost pair of the lowest rank until there is none.
    private func mergeShort(_ scratch: inout Scratch) {
        guard scratch.tokens.count > 1 else { return }
        // Rank i is that of tokens i and i + 1.
        scratch.ranks.removeAll(keepingCapacity: true)
        for index in 1..<scratch.tokens.count {
            scratch.ranks.append(rank(scratch.tokens[index - 1], scratch.tokens[index]))
        }
        while true {
            var (least, place) = (Int32.max, -1)
            for index in scratch.ranks.indices where scratch.ranks[index] < least {
                (least, place) = (scratch.ranks[index], index)
            }
            guard place >= 0 else { return }
            let merged = merges[TokenPair(scratch.tokens[place], scratch.tokens[place + 1])]!.token
            scratch.tokens[place] = merged
            scratch.tokens.remove(at: place + 1)
            scratch.ranks.remove(at: place)
            if place < scratch.ranks.count { scratch.ranks[place] = rank(merged, scratch.tokens[place + 1]) }
            if place > 0 { scratch.ranks[place - 1] = rank(scratch.tokens[place - 1], merged) }
        }
    }

    /// The same with a linked list of tokens and a heap of pairs, in n log n steps.
    private func mergeLong(_ scratch: inout Scratch, to output: inout [Int32]) {
        let count = scratch.tokens.count
        scratch.next = (0..<count).map { Int32($0 + 1) }
        scratch.previous = (0..<count).map { Int32($0 - 1) }
        // By rank, then by place.
        func entry(_ rank: Int32, _ place: Int) -> UInt64 { UInt64(rank) << 32 | UInt64(place) }
        var entries = [UInt64]()
        for place in 0..<count - 1 {
            let rank = rank(scratch.tokens[place], scratch.tokens[place + 1])
            if rank < .max { entries.append(entry(rank, place)) }
        }
        var heap = Heap(entries)
        while let least = heap.popMin() {
            let place = Int(least & 0xFFFF_FFFF)
            let right = Int(scratch.next[place])
            // Entries stay in the heap when their tokens are merged with others; -1: this one went into the token before it.
            guard scratch.tokens[place] >= 0, right < count,
                let merge = merges[TokenPair(scratch.tokens[place], scratch.tokens[right])],
                merge.rank == Int32(least >> 32)
            else { continue }
            scratch.tokens[place] = merge.token
            scratch.tokens[right] = -1
            let after = Int(scratch.next[right])
            scratch.next[place] = Int32(after)
            if after < count {
                scratch.previous[after] = Int32(place)
                let rank = rank(merge.token, scratch.tokens[after])
                if rank < .max { heap.insert(entry(rank, place)) }
            }
            let before = Int(scratch.previous[place])
            if before >= 0 {
                let rank = rank(scratch.tokens[before], merge.token)
                if rank < .max { heap.insert(entry(rank, before)) }
            }
        }
        for token in scratch.tokens where token >= 0 { output.append(token) }
    }
}
