import ControlProtocol
import Foundation

/// JSON Lines `{"iteration": 1, "loads": [layer][expert]}`.
enum IterationLines {
    private struct Line: Decodable {
        let iteration: Int
        let loads: [[Double]]
    }

    static func read(_ path: String, into sink: inout TraceSink) throws(TraceError) {
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw TraceError(path, "it cannot be read", remedy: "name a file that can")
        }
        var lines = LineReader(handle, name: path)
        while let text = try lines.next() {
            if text.allSatisfy({ " \t\r".utf8.contains($0) }) { continue }
            let line: Line
            do { line = try JSONDecoder().decode(Line.self, from: text) } catch {
                throw TraceError(
                    path, line: lines.number, ControlError.brief(error),
                    remedy: "give lines of the form {\"iteration\": 1, \"loads\": [[3, 1], [2, 2]]}")
            }
            try sink.add(line.loads, place: "loads", line: lines.number, firstStep: line.iteration)
        }
    }
}
