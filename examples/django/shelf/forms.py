from django import forms

from .models import Book


class BookForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["title", "author", "year"]


class UploadForm(forms.Form):
    file = forms.FileField()
