import Foundation
import Randomness
import Safetensors
import Tensors
import Testing

/// Damaged and hostile files: one typed error each, never a trap.
@Suite struct MalformedFileTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var header: String
        var dataBytes = 0
        var headerBytes: UInt64?
        var tensor: String?
        var cause: SafetensorsError.Cause?
    }

    private static func one(
        dtype: String = "F32", shape: String = "[2]", offsets: String = "[0,8]", name: String = "a"
    ) -> String {
        "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }

    private static let cases = [
        Case(
            testDescription: "header larger than the limit", header: "{}", headerBytes: 100_000_001,
            cause: .headerTooLarge(bytes: 100_000_001, limit: 100_000_000)),
        Case(
            testDescription: "header's length of all ones", header: "{}", headerBytes: .max,
            cause: .headerTooLarge(bytes: .max, limit: 100_000_000)),
        Case(
            testDescription: "header past the end", header: "{}", headerBytes: 3,
            cause: .headerPastEnd(headerBytes: 3, fileBytes: 10)),
        Case(
            testDescription: "empty header", header: "",
            cause: .headerNotJSON("it does not begin with \"{\"")),
        Case(
            testDescription: "blank before the header", header: " {}",
            cause: .headerNotJSON("it does not begin with \"{\"")),
        Case(testDescription: "cut JSON", header: "{\"a\":"),
        Case(testDescription: "text after the object", header: "{} {}"),
        Case(testDescription: "wrong encoding", header: "{\"\u{FFFD}\":1}"),
        Case(testDescription: "deep nesting", header: "{\"a\":" + String(repeating: "[", count: 100_000)),
        Case(testDescription: "a list for a tensor", header: "{\"a\":[]}"),
        Case(testDescription: "null for a tensor", header: "{\"a\":null}"),
        Case(testDescription: "no shape", header: "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}"),
        Case(testDescription: "a number for metadata", header: "{\"__metadata__\":{\"format\":1}}"),
        Case(testDescription: "an extent past Int", header: "{\(one(shape: "[99999999999999999999]"))}", dataBytes: 8),
        Case(testDescription: "a broken extent", header: "{\(one(shape: "[1.5]"))}", dataBytes: 8),
        Case(
            testDescription: "unknown dtype", header: "{\(one(dtype: "F33"))}", dataBytes: 8, tensor: "a",
            cause: .unknownElementType("F33")),
        Case(
            testDescription: "negative extent", header: "{\(one(shape: "[-1,-2]"))}", dataBytes: 8, tensor: "a",
            cause: .invalidShape([-1, -2])),
        Case(
            testDescription: "shape that overflows", header: "{\(one(shape: "[4294967296,4294967296]"))}",
            dataBytes: 8, tensor: "a", cause: .invalidShape([4_294_967_296, 4_294_967_296])),
        Case(
            testDescription: "three offsets", header: "{\(one(offsets: "[0,8,8]"))}", dataBytes: 8, tensor: "a",
            cause: .invalidOffsets([0, 8, 8])),
        Case(
            testDescription: "offsets reversed", header: "{\(one(offsets: "[8,0]"))}", dataBytes: 8, tensor: "a",
            cause: .invalidOffsets([8, 0])),
        Case(
            testDescription: "negative offset", header: "{\(one(offsets: "[-8,0]"))}", dataBytes: 8, tensor: "a",
            cause: .invalidOffsets([-8, 0])),
        Case(
            testDescription: "offsets that do not fit the shape", header: "{\(one(shape: "[3]"))}", dataBytes: 8,
            tensor: "a", cause: .sizeDiffers(shape: [3], elementType: .float32, bytes: 8)),
        Case(
            testDescription: "half a byte", header: "{\(one(dtype: "F4", shape: "[3]", offsets: "[0,1]"))}",
            dataBytes: 1, tensor: "a", cause: .sizeDiffers(shape: [3], elementType: .float4, bytes: 1)),
        Case(
            testDescription: "gap before the first", header: "{\(one(offsets: "[4,12]"))}", dataBytes: 12,
            tensor: "a", cause: .gap(begin: 4, previousEnd: 0)),
        Case(
            testDescription: "gap between", header: "{\(one()),\(one(offsets: "[12,20]", name: "b"))}",
            dataBytes: 20, tensor: "b", cause: .gap(begin: 12, previousEnd: 8)),
        Case(
            testDescription: "overlap", header: "{\(one()),\(one(offsets: "[4,12]", name: "b"))}", dataBytes: 12,
            tensor: "b", cause: .overlap(begin: 4, previousEnd: 8)),
        Case(
            testDescription: "the same bytes twice", header: "{\(one()),\(one(name: "b"))}", dataBytes: 8,
            tensor: "b", cause: .overlap(begin: 0, previousEnd: 8)),
        Case(
            testDescription: "a name twice", header: "{\(one()),\(one(offsets: "[8,16]"))}", dataBytes: 16),
        Case(
            testDescription: "data cut short", header: "{\(one())}", dataBytes: 7,
            cause: .dataSizeDiffers(expectedBytes: 8, actualBytes: 7)),
        Case(
            testDescription: "data left over", header: "{\(one())}", dataBytes: 9,
            cause: .dataSizeDiffers(expectedBytes: 8, actualBytes: 9)),
    ]

    @Test(arguments: cases)
    func isRefused(_ example: Case) throws {
        try withTemporaryDirectory { directory in
            let file = directory.appending(path: "bad.safetensors")
            try fileBytes(
                header: example.header, data: Data(count: example.dataBytes), headerBytes: example.headerBytes
            ).write(to: file)
            let error = #expect(throws: SafetensorsError.self) { try SafetensorsReader(path: file.path) }
            #expect(error?.file == file.path)
            #expect(error?.description.hasPrefix(file.path) == true)
            if let cause = example.cause {
                #expect(error?.cause == cause)
                #expect(error?.tensor == example.tensor)
            }
        }
    }

    @Test func refusesShortFilesDirectoriesAndAbsentOnes() throws {
        try withTemporaryDirectory { directory in
            let file = directory.appending(path: "short")
            for count in 0..<8 {
                try Data(count: count).write(to: file)
                #expect(throws: SafetensorsError(file: file.path, cause: .noHeader(fileBytes: count))) {
                    try SafetensorsReader(path: file.path)
                }
            }
            #expect(throws: SafetensorsError(file: directory.path, cause: .notRegularFile)) {
                try SafetensorsReader(path: directory.path)
            }
            let absent = directory.appending(path: "absent").path
            #expect(throws: SafetensorsError(file: absent, cause: .system("No such file or directory"))) {
                try SafetensorsReader(path: absent)
            }
        }
    }

    @Test func reportsAFileCutWhileOpen() throws {
        try withTemporaryDirectory { directory in
            let file = directory.appending(path: "cut.safetensors")
            try FileManager.default.copyItem(at: mixedFile, to: file)
            let reader = try SafetensorsReader(path: file.path)
            let handle = try FileHandle(forUpdating: file)
            try handle.truncate(atOffset: 900)
            for name in ["cube", "float32", "float16"] {
                let end = (reader.entry(name)?.bytes.upperBound ?? 0) + 8
                guard end > 900 else { continue }
                #expect(
                    throws: SafetensorsError(file: file.path, tensor: name, cause: .truncatedWhileReading)
                ) { try reader.read(name) }
            }
        }
    }

    /// Seeded damage to a good file. Whatever opens must be whole: all tensors can be read.
    @Test(arguments: 0..<8 as Range<UInt64>)
    func damagedFilesNeverTrap(seed: UInt64) throws {
        let original = try Data(contentsOf: mixedFile)
        let headerBytes = original.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let interesting = Array(#"{}[]",:-0123456789.eE \u"#.utf8) + [0, 0x7f, 0x80, 0xff]
        var opened = 0
        try withTemporaryDirectory { directory in
            let file = directory.appending(path: "damaged.safetensors")
            for round in 0..<500 {
                let random = CounterBasedGenerator(seed: seed, purpose: "damage", keys: [round])
                var bytes = original
                for change in 0..<1 + random.integer(at: 0, below: 3) {
                    let draw = UInt64(1 + 4 * change)
                    // Mostly in the header, where it matters.
                    let reach =
                        random.integer(at: draw, below: 8) == 0 ? bytes.count : min(8 + headerBytes, bytes.count)
                    let position = random.integer(at: draw + 1, below: max(1, reach))
                    let value = interesting[random.integer(at: draw + 2, below: interesting.count)]
                    guard position < bytes.count else { continue }
                    switch random.integer(at: draw + 3, below: 5) {
                    case 0: bytes[bytes.startIndex + position] ^= 1 << UInt8(random.integer(at: draw + 2, below: 8))
                    case 1: bytes[bytes.startIndex + position] = value
                    case 2: bytes.insert(value, at: bytes.startIndex + position)
                    case 3: bytes.remove(at: bytes.startIndex + position)
                    default: bytes = bytes.prefix(position)
                    }
                }
                try bytes.write(to: file)
                do {
                    let reader = try SafetensorsReader(path: file.path)
                    opened += 1
                    for entry in reader.header.entries where entry.elementType.isReadable {
                        #expect(try reader.read(entry.name).count == entry.shape.reduce(1, *), "seed \(seed), \(round)")
                    }
                } catch let error as SafetensorsError {
                    #expect(error.file == file.path, "seed \(seed), round \(round)")
                }
            }
        }
        print("seed \(seed): \(opened) of 500 damaged files opened")
        #expect(opened > 0 && opened < 500)
    }
}
