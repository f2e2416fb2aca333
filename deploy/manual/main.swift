import Foundation
import Settings

// Writes a manual page of a program that parses its arguments with swift-argument-parser:
//   PROGRAM --experimental-dump-help | manual-pages SECTIONS-FILE > PROGRAM.1
// The file has what the program does not tell of itself, in mdoc(7).

guard CommandLine.arguments.count == 2 else {
    FileHandle.standardError.write(Data("usage: PROGRAM --experimental-dump-help | manual-pages SECTIONS-FILE\n".utf8))
    exit(64)
}
let tool = try JSONDecoder().decode(ToolInfo.self, from: FileHandle.standardInput.readToEnd() ?? Data())
let sections = try String(contentsOfFile: CommandLine.arguments[1], encoding: .utf8)
// The same source gives the same page (https://reproducible-builds.org/specs/source-date-epoch/).
let epoch = ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap(Double.init)
print(ManualPage(tool.command, date: epoch.map(Date.init(timeIntervalSince1970:)) ?? Date(), sections: sections).text)
