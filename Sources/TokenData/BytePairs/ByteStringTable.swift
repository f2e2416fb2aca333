/// Different byte strings, numbered in the order in which they came: a hash table over one array of their bytes.
struct ByteStringTable: Sendable {
    private var bytes: [UInt8] = []
    /// String i is `bytes[ends[i]..<ends[i + 1]]`.
    private var ends = [0]
    private var hashes: [UInt64] = []
    /// Open addressing with linear probing; -1: empty. Its size is a power of two, above 4/3 of `count`.
    private var slots: [Int32]

    init(capacity: Int = 8) {
        var size = 16
        while size < 2 * capacity { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
    }

    var count: Int { hashes.count }

    subscript(index: Int) -> ArraySlice<UInt8> { bytes[ends[index]..<ends[index + 1]] }

    func index(of string: UnsafeBufferPointer<UInt8>) -> Int? {
        let slot = slot(of: string, hash: Self.hash(string))
        return slots[slot] >= 0 ? Int(slots[slot]) : nil
    }

    func index(of string: [UInt8]) -> Int? { string.withUnsafeBufferPointer { index(of: $0) } }

    /// - Returns: the number of `string`, and whether it is a new one.
    mutating func insert(_ string: UnsafeBufferPointer<UInt8>) -> (index: Int, isNew: Bool) {
        let hash = Self.hash(string)
        let slot = slot(of: string, hash: hash)
        if slots[slot] >= 0 { return (Int(slots[slot]), false) }
        let index = count
        slots[slot] = Int32(index)
        bytes.append(contentsOf: string)
        ends.append(bytes.count)
        hashes.append(hash)
        if 4 * count > 3 * slots.count { grow() }
        return (index, true)
    }

    mutating func insert(_ string: [UInt8]) -> (index: Int, isNew: Bool) {
        string.withUnsafeBufferPointer { insert($0) }
    }

    /// Where `string` stands, or would.
    @inline(__always)
    private func slot(of string: UnsafeBufferPointer<UInt8>, hash: UInt64) -> Int {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if hashes[index] == hash && isEqual(index, string) { return slot }
            slot = (slot + 1) & mask
        }
        return slot
    }

    @inline(__always)
    private func isEqual(_ index: Int, _ string: UnsafeBufferPointer<UInt8>) -> Bool {
        let (start, end) = (ends[index], ends[index + 1])
        guard end - start == string.count else { return false }
        return bytes.withUnsafeBufferPointer { bytes in
            for offset in 0..<string.count where bytes[start + offset] != string[offset] { return false }
            return true
        }
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: 2 * slots.count)
        let mask = slots.count - 1
        for (index, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot] >= 0 { slot = (slot + 1) & mask }
            slots[slot] = Int32(index)
        }
    }

    /// Eight bytes at a time, mixed by multiplication.
    @inline(__always)
    private static func hash(_ string: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: string.count) &* 0x9E37_79B9_7F4A_7C15
        func mix(_ word: UInt64) {
            hash = (hash ^ word) &* 0xFF51_AFD7_ED55_8CCD
            hash ^= hash >> 32
        }
        let raw = UnsafeRawBufferPointer(string)
        var offset = 0
        while offset + 8 <= raw.count {
            mix(raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < raw.count {
            rest = rest << 8 | UInt64(raw[offset])
            offset += 1
        }
        mix(rest)
        mix(hash >> 29)
        return hash
    }
}
