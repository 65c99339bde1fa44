from django.db import migrations

BOOKS = [
    ("Frankenstein", "Mary Shelley", 1818),
    ("Niels Lyhne", "J. P. Jacobsen", 1880),
    ("The Time Machine", "H. G. Wells", 1895),
    ("Kim", "Rudyard Kipling", 1901),
]


def put_on_the_shelf(apps, schema_editor):
    book = apps.get_model("shelf", "Book")
    for title, author, year in BOOKS:
        book.objects.get_or_create(title=title, author=author, defaults={"year": year})


class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [migrations.RunPython(put_on_the_shelf, migrations.RunPython.noop)]
