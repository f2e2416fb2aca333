/// Who gets an expert's places when more rows want one than there are: those with the largest keys among the rows of all ranks, and
/// of equal keys those of the first tokens.
///
/// The ranks look for the key of the last row that gets a place, a digit at a time, by adding up how many rows have each
/// digit: what travels does not grow with the number of tokens.
struct ExpertPlaces {
    let group: any TokenGroup
    let expertCount: Int

    /// The key of a score, which is not negative: of such numbers larger ones have larger bits. The last twelve of the mantissa's 23
    /// count as rounding: scores that are equal by mathematics, as those of the same token at the beginning of two sequences, differ
    /// in the last ones where ranks add up otherwise, and would get places by chance. Rounded to the nearest, for round numbers
    /// such as 1/E must not lie where keys change.
    static func key(_ score: Float) -> UInt32 { (score.bitPattern &+ 1 << 11) >> 12 }

    /// - Parameters:
    ///   - experts: of each row of this rank, in the order of the tokens.
    ///   - keys: of each row, from `key`; nil: all are equal.
    ///   - tokens: of this rank.
    ///   - places: gets the number of tokens of all ranks, returns how many places each expert has.
    /// - Returns: the places, and whether each row gets one; nil when all do. Collective.
    func assign(
        experts: [Int32], keys: [UInt32]?, tokens: Int, places: (_ tokens: Int) -> Int
    ) throws -> (places: Int, kept: [Bool]?) {
        var counts = [Int32](repeating: 0, count: expertCount + 1)
        for expert in experts { counts[Int(expert)] += 1 }
        counts[expertCount] = Int32(truncatingIfNeeded: tokens)
        let all = try group.gather(counts)
        let places = places(total(expertCount, of: all, ranks: group.size))
        let isFull = (0..<expertCount).map { total($0, of: all, ranks: group.size) > places }
        guard isFull.contains(true) else { return (places, nil) }

        var last = LastKeys(
            keys: [UInt32](repeating: 0, count: expertCount), places: isFull.map { $0 ? places : .max })
        var before = all
        if let keys {
            try find(&last, experts, keys, isFull)
            var equal = [Int32](repeating: 0, count: expertCount + 1)
            for (expert, key) in zip(experts, keys) where key == last.keys[Int(expert)] { equal[Int(expert)] += 1 }
            before = try group.gather(equal)
        }
        // How many rows with an expert's last key came before.
        var seen = (0..<expertCount).map { total($0, of: before, ranks: group.rank) }
        return (
            places,
            experts.indices.map { row in
                let expert = Int(experts[row])
                let key = keys?[row] ?? 0
                if key != last.keys[expert] { return key > last.keys[expert] }
                seen[expert] += 1
                return seen[expert] <= last.places[expert]
            }
        )
    }

    /// The sum of an entry of the blocks of the first `ranks` ranks.
    private func total(_ entry: Int, of blocks: [Int32], ranks: Int) -> Int {
        (0..<ranks).reduce(0) { $0 + Int(blocks[$1 * (expertCount + 1) + entry]) }
    }

    /// By expert: the key of the last rows that get places, and how many of these rows do.
    private struct LastKeys {
        var keys: [UInt32]
        var places: [Int]
    }

    private static let digitBits = 8
    /// Of keys, in whole digits.
    private static let keyBits = 24

    /// Digit by digit, from the highest: among the rows with the digits so far the places left reach down to one digit.
    private func find(_ last: inout LastKeys, _ experts: [Int32], _ keys: [UInt32], _ isFull: [Bool]) throws {
        let digits = 1 << Self.digitBits
        for shift in stride(from: Self.keyBits - Self.digitBits, through: 0, by: -Self.digitBits) {
            var histogram = [Int32](repeating: 0, count: expertCount * digits)
            for (expert, key) in zip(experts, keys) where isFull[Int(expert)] {
                // A shift by all bits gives 0.
                guard (key ^ last.keys[Int(expert)]) >> (shift + Self.digitBits) == 0 else { continue }
                histogram[Int(expert) * digits + Int(key >> shift) % digits] += 1
            }
            try group.sum(&histogram)
            for expert in 0..<expertCount where isFull[expert] {
                var digit = digits - 1
                while digit > 0, last.places[expert] > Int(histogram[expert * digits + digit]) {
                    last.places[expert] -= Int(histogram[expert * digits + digit])
                    digit -= 1
                }
                last.keys[expert] |= UInt32(digit) << shift
            }
        }
    }
}
