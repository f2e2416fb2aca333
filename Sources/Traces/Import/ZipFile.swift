import Foundation

/// The entries of a zip file that are stored as they are, as `torch.save` writes them (PKWARE's APPNOTE 6.3, sections 4.3
/// and 4.5.3).
struct ZipFile {
    private let data: Data
    /// By name: where an entry's bytes are in the file.
    private(set) var entries = [String: Range<Int>]()

    struct Damaged: Error, CustomStringConvertible { let description: String }

    /// The signatures of the records.
    private enum Signature {
        static let local = 0x0403_4B50
        static let central = 0x0201_4B50
        static let end = 0x0605_4B50
        static let end64 = 0x0606_4B50
        static let locator64 = 0x0706_4B50
    }
    private static let endBytes = 22
    private static let mostComment = 65_535
    private static let unknown16 = 0xFFFF
    private static let unknown32 = 0xFFFF_FFFF
    private static let entryLimit = 1_000_000

    init(_ data: Data) throws(Damaged) {
        self.data = data
        guard data.count >= Self.endBytes else { throw Damaged(description: "it is no zip file") }
        // The end is the last record; a comment may follow it.
        let first = max(0, data.count - Self.endBytes - Self.mostComment)
        var end = data.count - Self.endBytes
        while try number(end, 4) != Signature.end {
            end -= 1
            guard end >= first else { throw Damaged(description: "it is no zip file") }
        }
        var count = try number(end + 10, 2)
        var offset = try number(end + 16, 4)
        if end >= 20, try number(end - 20, 4) == Signature.locator64 {
            let end64 = try number(end - 20 + 8, 8)
            guard try number(end64, 4) == Signature.end64 else {
                throw Damaged(description: "its list of entries is not where it should be")
            }
            count = try number(end64 + 32, 8)
            offset = try number(end64 + 48, 8)
        }
        guard count <= Self.entryLimit else { throw Damaged(description: "it says that it has \(count) entries") }
        for _ in 0..<count { offset = try readEntry(at: offset) }
    }

    func bytes(_ name: String) -> Data? {
        entries[name].map { data[(data.startIndex + $0.lowerBound)..<(data.startIndex + $0.upperBound)] }
    }

    /// - Returns: where the next one is.
    private mutating func readEntry(at offset: Int) throws(Damaged) -> Int {
        guard try number(offset, 4) == Signature.central else {
            throw Damaged(description: "its list of entries is damaged")
        }
        let method = try number(offset + 10, 2)
        var size = try number(offset + 24, 4)
        let nameBytes = try number(offset + 28, 2)
        let extraBytes = try number(offset + 30, 2)
        let commentBytes = try number(offset + 32, 2)
        var local = try number(offset + 42, 4)
        let name = String(decoding: try slice(offset + 46, nameBytes), as: UTF8.self)
        // What does not fit 32 bits is in an extra field of kind 1, in this order: size, stored size, place.
        var extra = offset + 46 + nameBytes
        let extraEnd = extra + extraBytes
        while extra + 4 <= extraEnd {
            let (kind, length) = (try number(extra, 2), try number(extra + 2, 2))
            if kind == 1 {
                var field = extra + 4
                if size == Self.unknown32 {
                    size = try number(field, 8)
                    field += 8
                }
                if try number(offset + 20, 4) == Self.unknown32 { field += 8 }
                if local == Self.unknown32 { local = try number(field, 8) }
            }
            extra += 4 + length
        }
        guard method == 0 else { throw Damaged(description: "the entry \(name) is compressed") }
        guard try number(local, 4) == Signature.local else {
            throw Damaged(description: "the entry \(name) is not where it should be")
        }
        let start = local + 30 + (try number(local + 26, 2)) + (try number(local + 28, 2))
        _ = try slice(start, size)
        entries[name] = start..<start + size
        return extraEnd + commentBytes
    }

    private func slice(_ offset: Int, _ count: Int) throws(Damaged) -> Data {
        guard offset >= 0, count >= 0, offset <= data.count, count <= data.count - offset else {
            throw Damaged(description: "it is cut off")
        }
        return data[(data.startIndex + offset)..<(data.startIndex + offset + count)]
    }

    /// Little-endian.
    private func number(_ offset: Int, _ count: Int) throws(Damaged) -> Int {
        var result: UInt64 = 0
        for byte in try slice(offset, count).reversed() { result = result << 8 | UInt64(byte) }
        guard let number = Int(exactly: result) else { throw Damaged(description: "it is damaged") }
        return number
    }
}
