import Foundation

// Figures of the planner as JSON on standard output; planner.py makes tables of them beside EPLB's.
let arguments = Array(CommandLine.arguments.dropFirst())
do {
    let figures: any Encodable
    switch (arguments.first, arguments.count) {
    case ("trace", 2): figures = try TraceFigures(Trace(path: arguments[1]))
    case ("shapes", 2): figures = try ShapeFigures(Trace(path: arguments[1]))
    case ("seeded", 1): figures = try SeededFigures.all()
    case ("speed", 1): figures = try SpeedFigures.all()
    default:
        let usage = "usage: planner-benchmark trace FILE | shapes FILE | seeded | speed\n"
        FileHandle.standardError.write(Data(usage.utf8))
        exit(64)
    }
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    print(String(decoding: try encoder.encode(figures), as: UTF8.self))
} catch {
    FileHandle.standardError.write(Data("planner-benchmark: \(error)\n".utf8))
    exit(1)
}
